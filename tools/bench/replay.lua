-- Asks for every body of a file in turn, again and again, and says how long each pass took.
--
--   wrk -t1 ... -s replay.lua URL -- BODIES START [BEFORE]
--
-- Both files hold one request body a line. START is how many are left out at the beginning of the first pass; those of
-- BEFORE are sent once, before it. One thread (-t1) has one state of Lua, so the order is kept whatever the number of
-- connections. After every pass comes a line
-- "pass NUMBER SECONDS". The clock is read when the first request of a pass is asked for, which is when an earlier
-- answer has arrived: with one connection, a pass is timed from its first request to its last answer. It runs until
-- wrk is stopped.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]
local MONOTONIC = 1
local reading = ffi.new("bench_time")

local before, requests = {}, {}
local position, start, pass, began = 0, 0, 0, nil

local function now()
  ffi.C.clock_gettime(MONOTONIC, reading)
  return tonumber(reading.seconds) + tonumber(reading.nanoseconds) / 1e9
end

local function read(path)
  local found = {}
  for body in io.lines(path) do
    found[#found + 1] = wrk.format(nil, nil, nil, body)
  end
  return found
end

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  requests = read(args[1])
  start = tonumber(args[2])
  before = args[3] and read(args[3]) or {}
  position = -#before
end

local function begin_pass()
  local time = now()
  if began then
    pass = pass + 1
    io.write(string.format("pass %d %.9f\n", pass, time - began))
    io.flush()
    start = 0
  end
  began, position = time, start + 1
end

function request()
  position = position + 1
  if position <= 0 then
    return before[position + #before]
  end
  if not began or position > #requests then
    begin_pass()
  end
  return requests[position]
end
