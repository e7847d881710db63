-- Says which epoch a shard is in. KEYS: life. ARGV: token.
redis.call('SET', KEYS[1], RUN .. ' ' .. ARGV[1])
return {'ok'}
