-- Included, after capacity_set: our own indexes, from which a connection is chosen. Their
-- names are those of connect/state/keys.py. Scripts that include this begin with:
-- KEYS: 1 connections, 2 groups
-- ARGV: 1 now (unix ms), 2 prefix of our indexes, 3 prefix of worker capacities,
--       4 prefix of requests on workers
-- A connection that is READY or DRAINING stands, for each of its synced apps, in one sorted
-- set of its place (app, group, gateway), by heartbeat: ready, draining or, while its worker
-- is in the set of busy workers, full. So no connection that cannot be chosen is met
-- when one is drawn. The JSON of the connection is the truth; what differs is put right.
-- None of it has a lifetime, so all must be found again when others took away what it stands
-- for: the set of apps leads to what is known of each and to its groups, and these to places
-- and functions; the set of groups to their connections; the connections to workers.

local CONNECTED, READY, DRAINING = 0, 1, 2
local STATES = { 'ready:', 'full:', 'draining:' }

local now_ms = tonumber(ARGV[1])
local index = ARGV[2]
local busy, workers = index .. 'busy', index .. 'workers'

local function whole(number)
  return string.format('%.0f', number)
end

local function fields(value)
  return type(value) == 'table' and value or {}
end

local function decode(text)
  local ok, value = pcall(cjson.decode, text or '')
  return fields(ok and value)
end

local function text_map(value)
  local texts = {}
  for name, text in pairs(fields(value)) do
    if type(name) == 'string' and type(text) == 'string' then
      texts[name] = text
    end
  end
  return texts
end

local function text(value)
  return type(value) == 'string' and value or ''
end

local function parse_connection(id, stored)
  local record = decode(stored)
  local beat = fields(record.last_heartbeat_at)
  return {
    id = id,
    gateway = text(record.gateway_id),
    instance = text(record.instance_id),
    status = tonumber(record.status) or CONNECTED,
    all_groups = text_map(record.all_worker_groups),
    groups = text_map(record.synced_worker_groups),
    heartbeat = (tonumber(beat.seconds) or 0) * 1000
      + math.floor((tonumber(beat.nanos) or 0) / 1000000),
  }
end

-- The connection as a table; nil if it is gone.
local function read_connection(id)
  local stored = redis.call('HGET', KEYS[1], id)
  return stored and parse_connection(id, stored) or nil
end

local function worker_of(id)
  return redis.call('HGET', workers, id) or nil
end

local function place_of(app, group, gateway)
  return app .. ':' .. group .. ':' .. gateway
end

-- Take a connection out of a place, and the place off the list once it is empty.
local function leave_place(id, app, group, gateway)
  local place = place_of(app, group, gateway)
  local names = {}
  for i, state in ipairs(STATES) do
    names[i] = index .. state .. place
    redis.call('ZREM', names[i], id)
  end
  if redis.call('EXISTS', unpack(names)) == 0 then
    redis.call('SREM', index .. 'gateways:' .. app .. ':' .. group, gateway)
  end
end

-- Put a synced group back into the indexes, from its JSON; without one, it serves no function.
local function index_group(app, group)
  if
    redis.call('HEXISTS', index .. 'app-groups:' .. app, group) == 1
    and redis.call('EXISTS', index .. 'functions:' .. group) == 1
  then
    return
  end
  local record = decode(redis.call('HGET', KEYS[2], group))
  redis.call('SADD', index .. 'apps', app)
  redis.call('HSET', index .. 'app-groups:' .. app, group, text(record.created_at))
  for _, slug in ipairs(fields(record.hash and record.fns)) do
    redis.call('SADD', index .. 'functions:' .. group, slug)
  end
end

-- Take an app off the list once nothing is found by it.
-- listed: the set of its connections
local function unlist_app(app, listed)
  if redis.call('EXISTS', listed, index .. 'known:' .. app, index .. 'app-groups:' .. app) == 0 then
    redis.call('SREM', index .. 'apps', app)
  end
end

-- Put a connection where its status and its worker say, in the place of each synced app.
local function index_places(connection, worker)
  local state = nil
  if connection.status == DRAINING then
    state = 'draining:'
  elseif connection.status == READY then
    local full = worker and redis.call('ZSCORE', busy, worker)
    state = full and 'full:' or 'ready:'
  end
  for app, group in pairs(connection.groups) do
    if not state then
      leave_place(connection.id, app, group, connection.gateway)
    else
      local place = place_of(app, group, connection.gateway)
      for _, other in ipairs(STATES) do
        if other == state then
          redis.call('ZADD', index .. other .. place, whole(connection.heartbeat), connection.id)
        else
          redis.call('ZREM', index .. other .. place, connection.id)
        end
      end
      redis.call('SADD', index .. 'gateways:' .. app .. ':' .. group, connection.gateway)
      index_group(app, group)
    end
  end
end

local function forget_worker(id)
  local worker = worker_of(id)
  if worker then
    redis.call('HDEL', workers, id)
    redis.call('SREM', index .. 'worker:' .. worker, id)
  end
end

-- Note a connection of an app; its record need not be read again before the time (unix ms).
local function note_known(app, id, due_ms)
  redis.call('SADD', index .. 'apps', app)
  redis.call('ZADD', index .. 'known:' .. app, whole(due_ms), id)
end

-- Index a connection for each of its apps; the time is that of note_known.
local function index_connection(connection, worker, due_ms)
  if worker then
    if worker_of(connection.id) ~= worker then
      forget_worker(connection.id)
      redis.call('HSET', workers, connection.id, worker)
    end
    redis.call('SADD', index .. 'worker:' .. worker, connection.id)
  end
  index_places(connection, worker)
  for app in pairs(connection.groups) do
    note_known(app, connection.id, due_ms)
  end
end

-- Take a connection out of the indexes of the groups that its record names.
local function unindex_connection(connection)
  forget_worker(connection.id)
  for app, group in pairs(connection.groups) do
    leave_place(connection.id, app, group, connection.gateway)
    redis.call('ZREM', index .. 'known:' .. app, connection.id)
  end
end

-- Note whether the worker is full, and move its connections accordingly.
local function settle(worker)
  local limit = limit_of(ARGV[3] .. worker)
  local was_full = redis.call('ZSCORE', busy, worker)
  local is_full = false
  if limit then
    local set = ARGV[4] .. worker
    local count = redis.call('ZCARD', set)
    if count >= limit then
      drop_expired(set, now_ms)
      is_full = redis.call('ZCARD', set) >= limit
    end
    if is_full then
      redis.call('ZADD', busy, string.format('%.3f', earliest_expiry(set)), worker)
    end
  end
  if was_full and not is_full then
    redis.call('ZREM', busy, worker)
  end
  if is_full ~= (was_full ~= false) then
    for _, id in ipairs(redis.call('SMEMBERS', index .. 'worker:' .. worker)) do
      local connection = read_connection(id)
      if connection then
        index_places(connection, worker)
      else
        forget_worker(id)
      end
    end
  end
end
