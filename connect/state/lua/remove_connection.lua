-- Included, after indexes: removing a connection from the map and every index, with the
-- groups that it leaves empty.

-- apps: app ids to group hashes, where the group is indexed as far as the caller knows.
local function remove_group(group, apps, created_ttl)
  local record = decode(redis.call('HGET', KEYS[2], group))
  if text(record.created_at) ~= '' then
    redis.call('SET', index .. 'created:' .. group, record.created_at, 'PX', created_ttl)
  end
  redis.call('HDEL', KEYS[2], group)
  redis.call('DEL', index .. 'functions:' .. group)
  redis.call('SREM', index .. 'groups', group)
  local indexed = { [text(record.app_id)] = true }
  for app, other in pairs(apps) do
    indexed[app] = indexed[app] or other == group
  end
  for app, is_indexed in pairs(indexed) do
    local gateways = index .. 'gateways:' .. app .. ':' .. group
    for _, gateway in ipairs(is_indexed and redis.call('SMEMBERS', gateways) or {}) do
      for _, state in ipairs(STATES) do
        redis.call('DEL', index .. state .. place_of(app, group, gateway))
      end
    end
    if is_indexed then
      redis.call('HDEL', index .. 'app-groups:' .. app, group)
      redis.call('DEL', gateways)
    end
  end
end

-- Every group of the connection, as a set.
local function groups_of(connection)
  local groups = {}
  for _, named in ipairs({ connection.all_groups, connection.groups }) do
    for _, group in pairs(named) do
      groups[group] = true
    end
  end
  return groups
end

-- Take a connection off all lists but those named by another one of the same id.
-- group_prefix, app_prefix: of the sets of connections; created_ttl: how long the time of
-- creation of an emptied group is kept (ms).
local function leave_lists(connection, successor, group_prefix, app_prefix, created_ttl)
  unindex_connection(connection)
  for app in pairs(connection.groups) do
    if not successor.groups[app] then
      redis.call('SREM', app_prefix .. app, connection.id)
    end
  end
  local kept = groups_of(successor)
  for group in pairs(groups_of(connection)) do
    if not kept[group] then
      redis.call('SREM', group_prefix .. group, connection.id)
      if redis.call('EXISTS', group_prefix .. group) == 0 then
        remove_group(group, connection.groups, created_ttl)
      end
    end
  end
  for app in pairs(connection.groups) do
    unlist_app(app, app_prefix .. app)
  end
end

local function remove_connection(id, stored, group_prefix, app_prefix, created_ttl)
  redis.call('HDEL', KEYS[1], id)
  local none = { all_groups = {}, groups = {} }
  leave_lists(parse_connection(id, stored), none, group_prefix, app_prefix, created_ttl)
end
