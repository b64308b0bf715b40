-- The same request over and over: static, so that wrk formats it once.
--
--   wrk -t1 ... -s chat.lua URL -- BODY

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = args[1]
end
