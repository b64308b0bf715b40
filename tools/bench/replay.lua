-- Asks for every body of a file in turn, again and again, and says how long each pass took.
--
--   wrk -t1 ... -s replay.lua URL -- BODIES [FIRST]
--
-- BODIES holds one request body a line; the first pass begins at line FIRST (1). One thread (-t1) has one state of Lua,
-- so the order is kept whatever the number of connections. After every pass comes a line "pass NUMBER SECONDS"; the
-- clock is read when a pass's first request is asked for, which is when an earlier answer has arrived. It runs until
-- wrk is stopped.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]
local MONOTONIC = 1
local reading = ffi.new("bench_time")

local requests, next_one, pass, started = {}, 0, 0, 0

local function now()
  ffi.C.clock_gettime(MONOTONIC, reading)
  return tonumber(reading.seconds) + tonumber(reading.nanoseconds) / 1e9
end

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, body)
  end
end

function request()
  if next_one == #requests or pass == 0 then
    local time = now()
    if pass > 0 then
      io.write(string.format("pass %d %.9f\n", pass, time - started))
      io.flush()
    end
    pass, started, next_one = pass + 1, time, 0
  end
  next_one = next_one + 1
  return requests[next_one]
end
