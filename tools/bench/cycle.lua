-- Asks for every body of a file in turn, again and again.
--
--   wrk -t1 ... -s cycle.lua URL -- BODIES START
--
-- BODIES holds one request body a line; START is how many are left out the first time. One thread (-t1) has one state of
-- Lua, so the order is kept whatever the number of connections.

local requests, position = {}, 0

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, body)
  end
  position = tonumber(args[2])
end

function request()
  position = position % #requests + 1
  return requests[position]
end
