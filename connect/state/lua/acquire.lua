-- Return a buffered response, which stays where it is until the request is completed: the
-- answer of this script may get lost. Or route a request, lease it and assign it to a worker.
-- KEYS: 1 and 2 as in indexes, 3 lease, 4 buffered response, 5 worker of the request,
--       6 connections of the app, 7 mark of an abandoned request
-- ARGV: 1 to 4 as in indexes, 5 random seed, 6 new lease id, 7 executor host, 8 executor
--       port, 9 lifetime of the lease key (ms), 10 lease id held or '', 11 instance id
--       assigned so far or '', 12 its worker hash, 13 request id, 14 app id, 15 function
--       slug, 16 the oldest heartbeat that counts (unix ms), 17 heartbeats up to this are
--       garbage (unix ms), 18 lifetime of the mapping (ms), 19 lifetime of capacity
--       keys (ms), 20 number of active gateways, 21 of draining gateways, 22 of excluded
--       connections, then these lists of ids, then pairs of connection id and worker hash,
--       as an earlier answer asked for
-- Returns {'buffered', response}, {'leased', lease id, host and port of the executor that
--       the lease named before, '' and 0 without one, the id that it was made with or ''},
--       {'acquired', lease id, connection id, gateway id, instance id, 1 if limited else 0,
--       app name},
--       {'none', 'capacity' | 'draining' | 'unhealthy'},
--       {'abandoned', end of the lease (unix ms)} if somebody gave the request up and its
--       worker may still run it, or what must be asked again with
--       worker hashes, which only the caller can compute: {'assigned', instance id} if the
--       request is assigned to a worker since before, {'unknown', connection id, instance
--       id, …} if there are connections of the app that have no index.
-- The cost does not depend on how many connections there are, and of what kind, as long as
-- all are indexed: they are drawn from sets that hold no others than candidates.

-- include: lease_record
-- include: capacity_set
-- include: indexes
-- include: routing_upkeep
-- include: drawing

local ROUNDS = 1000 -- of upkeep before a refusal: enough for 64,000 connections

local held, instance_before = ARGV[10], ARGV[11]
local worker_before = ARGV[12]

math.randomseed(tonumber(ARGV[5]))

local function choose(groups)
  return draw(groups, 'active') or draw(groups, 'draining')
end

-- The chosen connection; or nil and the groups that serve the function. What has changed by
-- itself is noted before, a little of it at each call; all of it before a refusal.
local function route()
  settle_expired()
  read_due()
  local groups = serving_groups()
  local chosen = choose(groups)
  for _ = 1, ROUNDS do
    if chosen or settle_expired() + read_due() == 0 and not settle_some_full(groups) then
      break
    end
    groups = serving_groups()
    chosen = choose(groups)
  end
  return chosen, groups
end

-- Also when routing again: the worker of a forward that failed may have had the request.
local response = redis.call('GET', KEYS[4])
if response then
  return { 'buffered', response }
end

local lease = read_lease(KEYS[3])
if lease and lease.leaseID ~= held and is_live(lease, now_ms) then
  local host, port = lease.executorIP, tonumber(lease.executorPort)
  local first = lease.firstLeaseID
  set_executor(lease, ARGV[7], ARGV[8])
  redis.call('SET', KEYS[3], cjson.encode(lease), 'KEEPTTL')
  host, first = type(host) == 'string' and host or '', type(first) == 'string' and first or ''
  return { 'leased', lease.leaseID, host, port or 0, first }
end

if not lease then
  local mark = redis.call('GET', KEYS[7])
  local over = mark and tonumber(string.match(mark, '^%d+')) or 0
  if over > now_ms then
    return { 'abandoned', over }
  end
end

local assigned = redis.call('GET', KEYS[5])
if assigned and instance_before == '' then
  return { 'assigned', assigned }
end
local unknown = adopt_connections() > 0 and {} or unknown_connections()
if #unknown > 0 then
  return { 'unknown', unpack(unknown) }
end
if instance_before ~= '' then
  local set, capacity = ARGV[4] .. worker_before, ARGV[3] .. worker_before
  unassign(set, capacity, KEYS[5], request, instance_before, ARGV[19])
  settle(worker_before)
end

local chosen, groups = route()
if not chosen then
  unknown = unknown_connections()
  if #unknown > 0 then
    return { 'unknown', unpack(unknown) }
  end
  return { 'none', refusal(groups) }
end
lease = { leaseID = ARGV[6], firstLeaseID = ARGV[6] }
if chosen.requests then
  -- As after each extension, the place is the request's for as long as the lease lasts: it
  -- is free again although nobody cleans up.
  local expiry_ms = ulid_ms(ARGV[6])
  assign(chosen.requests, KEYS[5], request, chosen.instance, expiry_ms, ARGV[18], ARGV[19])
  if chosen.count + 1 >= chosen.limit then
    settle(chosen.worker)
  end
else
  lease.workerID = chosen.instance
end
set_executor(lease, ARGV[7], ARGV[8])
redis.call('SET', KEYS[3], cjson.encode(lease), 'PX', ARGV[9])
local limited = chosen.requests and 1 or 0
return { 'acquired', ARGV[6], chosen.id, chosen.gateway, chosen.instance, limited, app_name_of(chosen) }
