-- Take an app off the list of apps that have indexes, unless it still has one.
-- KEYS: 1 and 2 as in indexes, 3 connections of the app
-- ARGV: 1 to 4 as in indexes, 5 app id
-- Returns 1 if it is not listed any more, else 0.

-- include: capacity_set
-- include: indexes

unlist_app(ARGV[5], KEYS[3])
return 1 - redis.call('SISMEMBER', index .. 'apps', ARGV[5])
