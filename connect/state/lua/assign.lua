-- Count a request on a worker.
-- KEYS: 1 worker capacity, 2 requests on the worker, 3 worker of the request
-- ARGV: 1 now (unix ms), 2 request id, 3 instance id, 4 lifetime of the mapping (ms),
--       5 lifetime of capacity keys (ms)
-- Returns 'assigned', 'unlimited' (nothing is counted) or 'full'.

-- include: capacity_set

local now = tonumber(ARGV[1])
local limit = limit_of(KEYS[1])
if not limit then
  return 'unlimited'
end
drop_expired(KEYS[2], now)
local _, room = room_for(KEYS[2], limit, ARGV[2], now)
if not room then
  return 'full'
end
assign(KEYS[2], KEYS[3], ARGV[2], ARGV[3], now, ARGV[4], ARGV[5])
return 'assigned'
