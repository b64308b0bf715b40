-- Asks once for some of the bodies of a file, in order, and says how long that took.
--
--   wrk -t1 -c1 ... -s first.lua URL -- BODIES START COUNT BEFORE
--
-- Both files hold one request body a line. Those of BEFORE are sent first; then COUNT of BODIES, leaving out START at
-- the beginning. When they are answered comes the line "took SECONDS"; after that, BEFORE again until wrk is stopped.
-- The clock is read when a request is asked for, which with one connection is when the one before it was answered.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]
local MONOTONIC = 1
local reading = ffi.new("bench_time")

local requests, before = {}, {}
local sent, began = 0, nil

local function now()
  ffi.C.clock_gettime(MONOTONIC, reading)
  return tonumber(reading.seconds) + tonumber(reading.nanoseconds) / 1e9
end

local function read(path, start, count)
  local found, number = {}, 0
  for body in io.lines(path) do
    number = number + 1
    if number > start and #found < count then
      found[#found + 1] = wrk.format(nil, nil, nil, body)
    end
  end
  return found
end

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  requests = read(args[1], tonumber(args[2]), tonumber(args[3]))
  before = read(args[4], 0, math.huge)
end

function request()
  sent = sent + 1
  local number = sent - #before
  if number == 1 then
    began = now()
  elseif number == #requests + 1 then
    io.write(string.format("took %.9f\n", now() - began))
    io.flush()
  end
  return requests[number] or before[(sent - 1) % #before + 1]
end
