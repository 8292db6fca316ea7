-- Take a buffered response; or route a request, lease it and assign it to a worker.
-- KEYS: 1 lease, 2 buffered response, 3 worker of the request, 4 connections, 5 groups,
--       6 connections of the app, 7 groups of the app, 8 workers by connection
-- ARGV: 1 now (unix ms), 2 random seed, 3 new lease id, 4 executor host, 5 executor port,
--       6 lifetime of the lease key (ms), 7 lease id held or '', 8 instance id assigned
--       so far or '', 9 its worker hash, 10 request id, 11 app id, 12 function slug,
--       13 the oldest heartbeat that counts (unix ms), 14 lifetime of the mapping (ms),
--       15 lifetime of capacity keys (ms), 16 prefix of the app's ready sets, 17 prefix of
--       the groups' functions, 18 prefix of worker capacities, 19 prefix of requests on
--       workers, 20 number of active gateways, 21 number of draining gateways, then both
--       lists of gateway ids, then the excluded connection ids
-- Returns {'buffered', response}, {'leased', lease id},
--       {'acquired', connection id, gateway id, instance id, 1 if limited else 0} or
--       {'none', 'capacity' | 'draining' | 'unhealthy'}.
-- A connection is drawn from the ready sets: at random, then the less loaded of two. The
-- scan of all connections comes only after draws that found none; it also finds those
-- that have no index, and it alone says why there is none.

-- include: lease_record
-- include: capacity_set

local DRAWS = 8 -- pairs drawn before the scan
local SAMPLE = 4 -- candidates that end the scan
local READY, DRAINING = 1, 2

local now = tonumber(ARGV[1])
local held = ARGV[7]
local request, app, slug = ARGV[10], ARGV[11], ARGV[12]
local oldest = tonumber(ARGV[13])

math.randomseed(tonumber(ARGV[2]))

local active, draining, excluded = {}, {}, {}
local actives, drainings = tonumber(ARGV[20]), tonumber(ARGV[21])
for i = 22, #ARGV do
  if i < 22 + actives then
    active[ARGV[i]] = true
  elseif i < 22 + actives + drainings then
    draining[ARGV[i]] = true
  else
    excluded[ARGV[i]] = true
  end
end

local function fields(value)
  return type(value) == 'table' and value or {}
end

local function decode(text)
  local ok, value = pcall(cjson.decode, text or '')
  return fields(ok and value)
end

-- Times of creation compare as text once the zone, always UTC, is cut off.
local function comparable(created)
  created = type(created) == 'string' and created or ''
  return (string.gsub(string.gsub(created, '[Zz]$', ''), '[+-]00:00$', ''))
end

local function integer(from, to)
  return math.floor(from + math.random() * (to - from + 1))
end

local function member(set, rank)
  local position = string.format('%.0f', rank)
  return redis.call('ZRANGE', set, position, position)[1]
end

-- The connection as a table, with group, heartbeat (unix ms) and gateway's state; nil
-- if it is gone.
local function read_connection(id)
  local stored = redis.call('HGET', KEYS[4], id)
  if not stored then
    return nil
  end
  local record = decode(stored)
  local beat = fields(record.last_heartbeat_at)
  local group = fields(record.synced_worker_groups)[app]
  local gateway = record.gateway_id
  return {
    id = id,
    gateway = gateway,
    instance = type(record.instance_id) == 'string' and record.instance_id or '',
    status = record.status,
    group = type(group) == 'string' and group or nil,
    heartbeat = (tonumber(beat.seconds) or 0) * 1000
      + math.floor((tonumber(beat.nanos) or 0) / 1000000),
    active = active[gateway or ''],
    draining = draining[gateway or ''],
  }
end

-- Whether the worker has room; limit, requests and load of limited ones are put into found.
local function has_room(id, found)
  local worker = redis.call('HGET', KEYS[8], id)
  local limit = worker and limit_of(ARGV[18] .. worker)
  if not limit then
    return true
  end
  local set = ARGV[19] .. worker
  local count, room = room_for(set, limit, request, now)
  found.requests = set
  found.load = count / limit
  return room
end

-- Weights by the age of the group: 1 for the oldest to 10 for the newest.
local function weight(rank, ranks)
  return ranks > 1 and 1 + 9 * (rank - 1) / (ranks - 1) or 1
end

local function pick(items)
  local total = 0
  for _, item in ipairs(items) do
    total = total + item.weight
  end
  local left = math.random() * total
  for _, item in ipairs(items) do
    left = left - item.weight
    if left < 0 then
      return item
    end
  end
  return items[#items]
end

-- The app's groups that serve the function and have live connections, oldest first.
local function live_groups()
  local listed = redis.call('HGETALL', KEYS[7])
  local groups = {}
  for i = 1, #listed, 2 do
    if redis.call('SISMEMBER', ARGV[17] .. listed[i], slug) == 1 then
      local ready = ARGV[16] .. listed[i]
      local live = redis.call('ZCOUNT', ready, ARGV[13], '+inf')
      if live > 0 then
        groups[#groups + 1] = {
          hash = listed[i],
          created = comparable(listed[i + 1]),
          ready = ready,
          size = redis.call('ZCARD', ready),
          live = live,
        }
      end
    end
  end
  table.sort(groups, function(a, b)
    if a.created ~= b.created then
      return a.created < b.created
    end
    return a.hash < b.hash
  end)
  for rank, group in ipairs(groups) do
    group.each = weight(rank, #groups)
  end
  return groups
end

-- The drawn connection if it is a candidate. What the index has wrong is put right.
local function examine_drawn(id, group)
  local found = read_connection(id)
  if not found or found.status ~= READY or found.group ~= group.hash then
    redis.call('ZREM', group.ready, id)
    group.size = group.size - 1
    group.live = group.live - 1
    if not found then
      redis.call('HDEL', KEYS[8], id)
    end
    return nil
  end
  if found.heartbeat < oldest then
    redis.call('ZADD', group.ready, string.format('%.0f', found.heartbeat), id)
    group.live = group.live - 1
    return nil
  end
  if excluded[id] or not (found.active or (found.draining and actives == 0)) then
    return nil
  end
  return has_room(id, found) and found or nil
end

local function draw()
  local groups = live_groups()
  local seen, unseen = {}, 0
  for _, group in ipairs(groups) do
    unseen = unseen + group.live
  end
  for _ = 1, DRAWS do
    local choices = {}
    for _, group in ipairs(groups) do
      if group.live > 0 then
        group.weight = group.each * group.live
        choices[#choices + 1] = group
      end
    end
    if #choices == 0 or unseen == 0 then
      return nil
    end
    local group = pick(choices)
    local first = integer(group.size - group.live, group.size - 1)
    local second = integer(group.size - group.live, group.size - 2)
    if second >= first then
      second = second + 1
    end
    local ids = { member(group.ready, first) }
    if group.live > 1 then
      ids[2] = member(group.ready, second)
    end
    local best = nil
    for _, id in ipairs(ids) do
      if not seen[id] then
        seen[id] = true
        unseen = unseen - 1
        local found = examine_drawn(id, group)
        if found and (not best or (found.load and best.load and found.load < best.load)) then
          best = found
        end
      end
    end
    if best then
      return best
    end
  end
  return nil
end

-- Whether a group serves the function, and when it was created; each is read once.
local known_groups = {}
local function describe_group(hash)
  local known = known_groups[hash]
  if not known then
    local record = decode(redis.call('HGET', KEYS[5], hash))
    known = { created = comparable(record.created_at), serves = false }
    for _, name in ipairs(fields(record.fns)) do
      known.serves = known.serves or name == slug
    end
    known_groups[hash] = known
  end
  return known
end

-- Of candidates of several groups, prefer the newer ones.
local function pick_by_age(candidates)
  local times, ranks = {}, {}
  for _, found in ipairs(candidates) do
    local created = describe_group(found.group).created
    if not ranks[created] then
      ranks[created] = 0
      times[#times + 1] = created
    end
  end
  table.sort(times)
  for rank, created in ipairs(times) do
    ranks[created] = rank
  end
  for _, found in ipairs(candidates) do
    found.weight = weight(ranks[describe_group(found.group).created], #times)
  end
  return pick(candidates)
end

-- The chosen connection; or nil and the reason why there is none.
local function scan()
  local ids = redis.call('SMEMBERS', KEYS[6])
  local start = integer(0, #ids - 1)
  local candidates, reserve = {}, {}
  local at_capacity, only_draining = false, false
  local function examine(id)
    local found = {}
    local room = nil
    if at_capacity then -- nothing more to learn from a full worker
      room = has_room(id, found)
      if not room then
        return
      end
    end
    local connection = read_connection(id)
    if not connection then
      redis.call('SREM', KEYS[6], id)
      redis.call('HDEL', KEYS[8], id)
      return
    end
    if
      connection.heartbeat < oldest
      or not connection.group
      or not (connection.active or connection.draining)
      or not describe_group(connection.group).serves
    then
      return
    end
    if connection.status == DRAINING then
      only_draining = true
    elseif connection.status == READY and excluded[id] then
      only_draining = only_draining or connection.draining
    elseif connection.status == READY then
      if room == nil then
        room = has_room(id, found)
      end
      if not room then
        at_capacity = true
        return
      end
      connection.requests = found.requests
      local list = connection.active and candidates or reserve
      list[#list + 1] = connection
    end
  end
  for i = 0, #ids - 1 do
    examine(ids[(start + i) % #ids + 1])
    if #candidates == SAMPLE then
      break
    end
  end
  if #candidates > 0 then
    return pick_by_age(candidates)
  end
  if #reserve > 0 then
    return pick_by_age(reserve)
  end
  return nil, at_capacity and 'capacity' or only_draining and 'draining' or 'unhealthy'
end

if held == '' then
  local response = redis.call('GET', KEYS[2])
  if response then
    redis.call('DEL', KEYS[2])
    return { 'buffered', response }
  end
end

local lease = read_lease(KEYS[1])
if lease and lease.leaseID ~= held and is_live(lease, now) then
  set_executor(lease, ARGV[4], ARGV[5])
  redis.call('SET', KEYS[1], cjson.encode(lease), 'KEEPTTL')
  return { 'leased', lease.leaseID }
end
if ARGV[8] ~= '' then
  unassign(ARGV[19] .. ARGV[9], ARGV[18] .. ARGV[9], KEYS[3], request, ARGV[8], ARGV[15])
end

local chosen, reason = draw(), nil
if not chosen then
  chosen, reason = scan()
end
if not chosen then
  return { 'none', reason }
end
lease = { leaseID = ARGV[3] }
if chosen.requests then
  assign(chosen.requests, KEYS[3], request, chosen.instance, now, ARGV[14], ARGV[15])
else
  lease.workerID = chosen.instance
end
set_executor(lease, ARGV[4], ARGV[5])
redis.call('SET', KEYS[1], cjson.encode(lease), 'PX', ARGV[6])
return { 'acquired', chosen.id, chosen.gateway, chosen.instance, chosen.requests and 1 or 0 }
