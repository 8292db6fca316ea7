-- Extend a lease for the worker that runs the request.
-- KEYS: 1 and 2 as in indexes, 3 lease, 4 worker of the request, 5 requests on the worker,
--       6 worker capacity
-- ARGV: 1 to 4 as in indexes, 5 worker hash, 6 lease id that the worker holds,
--       7 new lease id, 8 end of the new lease (unix ms), 9 instance id, 10 '1' if the
--       worker is limited, 11 request id, 12 lifetime of the lease key (ms), 13 of the
--       mapping, 14 of capacity keys
-- Returns {outcome} or {outcome, lease id}; outcomes: extended, current, dropped,
--       not_leased, other_worker, superseded.
-- A request whose place on its worker expired and was taken by others counts as another
-- worker's: the worker would have more than its limit.

-- include: lease_record
-- include: capacity_set
-- include: indexes

local given, instance, request = ARGV[6], ARGV[9], ARGV[11]
local limited = ARGV[10] == '1'

local lease = read_lease(KEYS[3])
if not lease then
  return { 'not_leased' }
end
local mapped = redis.call('GET', KEYS[4])
if limited and mapped ~= instance then
  return { 'other_worker' }
end
if lease.leaseID ~= given and is_live(lease, now_ms) then
  local same_worker = limited or lease.workerID == instance
  if (lease.prevLeaseID == given or lease.heldLeaseID == given) and same_worker then
    return { 'current', lease.leaseID }
  end
  return { 'superseded' }
end
if tonumber(ARGV[8]) <= now_ms then
  redis.call('DEL', KEYS[3])
  if not mapped or mapped == instance then
    redis.call('DEL', KEYS[4])
    redis.call('ZREM', KEYS[5], request)
    settle(ARGV[5])
  end
  return { 'dropped' }
end
if limited then
  local limit = limit_of(KEYS[6])
  if limit then
    local _, room = room_for(KEYS[5], limit, request, now_ms)
    if not room then
      return { 'other_worker' }
    end
  end
  local expiry = math.ceil(tonumber(ARGV[8]) / 1000)
  redis.call('ZADD', KEYS[5], whole(expiry), request)
  redis.call('PEXPIRE', KEYS[4], ARGV[13])
  redis.call('PEXPIRE', KEYS[5], ARGV[14])
  redis.call('PEXPIRE', KEYS[6], ARGV[14])
  settle(ARGV[5])
else
  lease.workerID = instance
end
-- The worker may not know the lease that has run out: commands that were on their way while it
-- was cut off come late. It may ask once more with the one that it holds.
lease.heldLeaseID = lease.leaseID ~= given and given or nil
lease.prevLeaseID = lease.leaseID
lease.leaseID = ARGV[7]
redis.call('SET', KEYS[3], cjson.encode(lease), 'PX', ARGV[12])
return { 'extended', ARGV[7] }
