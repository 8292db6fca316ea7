-- Clean up after a request: un-assign it, delete its lease and its buffered response.
-- KEYS: 1 and 2 as in indexes, 3 lease, 4 buffered response, 5 worker of the request,
--       6 mark of an abandoned request, then if the worker is known: 7 worker capacity,
--       8 requests on the worker
-- ARGV: 1 to 4 as in indexes, 5 request id, 6 executor host or '' (whoever it is), 7 executor
--       port, 8 lifetime of the mark (ms), 9 '1' to leave a response where it is, 10 lease id of
--       a routing whose answer was lost, or '', 11 '1' if a worker may run the request, 12 until
--       when it was vouched for (unix ms) or 0, 13 length of a lease (ms), 14 ids that the
--       lease may have been made with, between spaces, or '' (whoever made it), then if the
--       worker is known: 15 instance id, 16 worker hash, 17 lifetime of capacity keys (ms)
-- Returns {'done'}; {'taken'} if the request is another executor's now, and nothing is done but
--       that a worker which has replied has room again, or if it has begun anew since, as this
--       comes late over an older connection; {'live'} if the routing whose answer was
--       lost has taken over a lease, until that is over; or what must be asked again with the
--       worker's hash, which only the caller can compute: {'assigned', instance id}.
-- A request that ends without a response is marked, so that a late one is not kept; where a
-- worker may run it, with the end of its lease (unix ms), in Redis or vouched for, and the
-- worker's instance id, so that nobody else does before. An end that is further away than a
-- lease lasts was written before the clock was set back.

-- include: capacity_set
-- include: indexes
-- include: lease_record

local instance = ARGV[15]

local function give_back()
  if instance and unassign(KEYS[8], KEYS[7], KEYS[5], ARGV[5], instance, ARGV[17]) then
    settle(ARGV[16])
  end
end

local lease = read_lease(KEYS[3])
if ARGV[6] ~= '' and lease and lease.executorIP then
  local port = tonumber(lease.executorPort) or 0
  if lease.executorIP ~= ARGV[6] or port ~= tonumber(ARGV[7]) then
    if redis.call('EXISTS', KEYS[4]) == 1 then
      give_back()
    end
    return { 'taken' }
  end
end
local first = lease and lease.firstLeaseID
if ARGV[14] ~= '' and type(first) == 'string' and not string.find(ARGV[14], first, 1, true) then
  return { 'taken' }
end
if ARGV[10] ~= '' then
  local made = lease and lease.leaseID == ARGV[10]
  if not lease or not made and ARGV[6] == '' then
    return { 'taken' }
  end
  if not made and is_live(lease, now_ms) then
    return { 'live' }
  end
end
if not instance then
  local mapped = redis.call('GET', KEYS[5])
  if mapped then
    return { 'assigned', mapped }
  end
end
redis.call('DEL', KEYS[3])
local remove = ARGV[9] == '1' and 'EXISTS' or 'DEL'
-- Who asks again, as the answer was lost, finds no lease, and leaves the mark as it is.
if redis.call(remove, KEYS[4]) == 0 and (lease or redis.call('EXISTS', KEYS[6]) == 0) then
  local over = 0
  if ARGV[11] == '1' then
    over = math.max(lease and ulid_ms(lease.leaseID) or 0, tonumber(ARGV[12]))
    over = math.min(over, now_ms + tonumber(ARGV[13]))
  end
  local lifetime = math.max(tonumber(ARGV[8]), over - now_ms)
  local worker = instance or lease and lease.workerID or ''
  redis.call('SET', KEYS[6], whole(over) .. ' ' .. worker, 'PX', whole(lifetime))
end
give_back()
return { 'done' }
