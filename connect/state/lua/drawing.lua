-- Included by acquire, after routing_upkeep: drawing a connection at random from the ready sets.

local CHECKED = 2 -- full connections looked at before a refusal
local draws_left = 1000 -- in all: should the indexes be a muddle, Redis must not stand still

local function integer(from, to)
  return math.floor(from + math.random() * (to - from + 1))
end

-- Times of creation compare as text once the zone, always UTC, is cut off, and the zeros at
-- the end of a fraction.
local function comparable(created)
  local time = string.gsub(string.gsub(created, '[Zz]$', ''), '[+-]00:00$', '')
  return (string.gsub(string.gsub(time, '%.(%d-)0*$', '.%1'), '%.$', ''))
end

-- The app's groups that serve the function, oldest first, with the names of their places on
-- active and on draining gateways.
local function serving_groups()
  local listed = redis.call('HGETALL', index .. 'app-groups:' .. app)
  local groups = {}
  for i = 1, #listed, 2 do
    local hash = listed[i]
    if redis.call('SISMEMBER', index .. 'functions:' .. hash, slug) == 1 then
      local group = { hash = hash, created = comparable(listed[i + 1]), active = {}, draining = {} }
      local gateways = redis.call('SMEMBERS', index .. 'gateways:' .. app .. ':' .. hash)
      for _, gateway in ipairs(gateways) do
        local side = active[gateway] and group.active or draining[gateway] and group.draining
        if side then
          side[#side + 1] = { gateway = gateway, name = place_of(app, hash, gateway) }
        end
      end
      groups[#groups + 1] = group
    end
  end
  table.sort(groups, function(a, b)
    if a.created ~= b.created then
      return a.created < b.created
    end
    return a.hash < b.hash
  end)
  return groups
end

-- How many connections of a set have a heartbeat that counts.
local function live_in(set)
  return redis.call('ZCOUNT', set, whole(oldest), '+inf')
end

local function live_excluded_in(set)
  local count = 0
  for id in pairs(excluded) do
    local heartbeat = tonumber(redis.call('ZSCORE', set, id) or '')
    if heartbeat and heartbeat >= oldest then
      count = count + 1
    end
  end
  return count
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

-- The groups with something to draw on one side, each place with its set, the set's size
-- and how many of it are live and how many free to be drawn; weighted by free connections
-- times 1 for the oldest groups to 10 for the newest, alike for those created together.
local function choices_in(groups, side)
  local choices, newest = {}, -1
  for _, group in ipairs(groups) do
    local choice = { group = group.hash, created = group.created, places = {}, free = 0 }
    for _, place in ipairs(group[side]) do
      local set = index .. 'ready:' .. place.name
      local live = live_in(set)
      local free = live > 0 and live - live_excluded_in(set) or 0
      if free > 0 then
        local size = redis.call('ZCARD', set)
        choice.places[#choice.places + 1] =
          { gateway = place.gateway, set = set, size = size, live = live, free = free }
        choice.free = choice.free + free
      end
    end
    if choice.free > 0 then
      local before = choices[#choices]
      if not before or before.created ~= choice.created then
        newest = newest + 1
      end
      choice.rank = newest
      choices[#choices + 1] = choice
    end
  end
  for _, choice in ipairs(choices) do
    local age = newest > 0 and choice.rank / newest or 0
    choice.weight = choice.free * (1 + 9 * age)
  end
  return choices
end

-- One of the free connections of a choice, which is then free no more, and its place.
local function take(choice, taken)
  local number = integer(1, choice.free)
  for _, place in ipairs(choice.places) do
    if number <= place.free then
      choice.free = choice.free - 1
      place.free = place.free - 1
      local rank = place.size - integer(1, place.live)
      for _ = 1, place.live do
        local id = redis.call('ZRANGE', place.set, whole(rank), whole(rank))[1]
        if not taken[id] then
          taken[id] = true
          return { id = id, place = place, group = choice.group }
        end
        rank = rank + 1 < place.size and rank + 1 or place.size - place.live
      end
    end
    number = number - place.free
  end
end

-- What the worker of a drawn connection runs.
local function weigh(drawn)
  drawn.worker = worker_of(drawn.id)
  drawn.limit = drawn.worker and limit_of(ARGV[3] .. drawn.worker)
  drawn.has_room = true
  if drawn.limit then
    drawn.requests = ARGV[4] .. drawn.worker
    drawn.count, drawn.has_room = room_for(drawn.requests, drawn.limit, request, now_ms)
  end
end

-- The drawn connection if it is a candidate. What the index has wrong is put right, so that
-- it is not drawn again.
local function examine(drawn)
  local place, worker = drawn.place, drawn.worker
  local connection = read_connection(drawn.id)
  if not connection then
    drop_gone(drawn.id)
    leave_place(drawn.id, app, drawn.group, place.gateway)
    return nil
  end
  if
    connection.status ~= READY
    or connection.groups[app] ~= drawn.group
    or connection.gateway ~= place.gateway
    or connection.heartbeat < oldest
  then
    leave_place(drawn.id, app, drawn.group, place.gateway)
    index_places(connection, worker)
    return nil
  end
  if not drawn.has_room then
    settle(worker)
    index_places(connection, worker)
    return nil
  end
  for _, name in ipairs({ 'worker', 'limit', 'requests', 'count' }) do
    connection[name] = drawn[name]
  end
  return connection
end

-- A candidate on one side: the less loaded of two, if there are.
local function draw(groups, side)
  local choices = choices_in(groups, side)
  while #choices > 0 and draws_left > 0 do
    draws_left = draws_left - 1
    local choice = pick(choices)
    local taken = setmetatable({}, { __index = excluded })
    local first = take(choice, taken)
    local second = choice.free > 0 and take(choice, taken) or nil
    weigh(first)
    if second then
      weigh(second)
      if first.limit and second.limit and second.count / second.limit < first.count / first.limit then
        first, second = second, first
      end
    end
    local connection = examine(first) or second and examine(second)
    if connection then
      return connection
    end
    choices = choices_in(groups, side)
  end
  return nil
end

-- Whether one of a few full workers turns out to have room.
local function settle_some_full(groups)
  local found, left = false, CHECKED
  for _, group in ipairs(groups) do
    for _, side in ipairs({ group.active, group.draining }) do
      for _, place in ipairs(side) do
        local set = index .. 'full:' .. place.name
        local size = left > 0 and redis.call('ZCARD', set) or 0
        if size > 0 then
          left = left - 1
          local rank = whole(integer(0, size - 1))
          local id = redis.call('ZRANGE', set, rank, rank)[1]
          local connection, worker = read_connection(id), worker_of(id)
          if connection and worker then
            settle(worker)
          end
          if connection then
            index_places(connection, worker)
          else
            drop_gone(id)
          end
          found = found or not redis.call('ZSCORE', set, id)
        end
      end
    end
  end
  return found
end

-- Why nothing could be drawn: 'capacity' if a full worker could else have been, 'draining' if
-- waiting may help, since a worker is leaving or its gateway is.
local function refusal(groups)
  local full, leaving = 0, 0
  for _, group in ipairs(groups) do
    for _, side in ipairs({ 'active', 'draining' }) do
      for _, place in ipairs(group[side]) do
        local full_set = index .. 'full:' .. place.name
        local excluded_full = live_excluded_in(full_set)
        full = full + live_in(full_set) - excluded_full
        leaving = leaving + live_in(index .. 'draining:' .. place.name)
        if side == 'draining' then
          leaving = leaving + excluded_full + live_in(index .. 'ready:' .. place.name)
        end
      end
    end
  end
  return full > 0 and 'capacity' or leaving > 0 and 'draining' or 'unhealthy'
end

-- The name under which the worker serves the app.
local function app_name_of(connection)
  local found = nil
  for name, group in pairs(connection.all_groups) do
    if group == connection.groups[app] and (not found or name < found) then
      found = name
    end
  end
  return found or ''
end
