-- Takes a budget from the journal, unless another has; the parts were made ready under keys of their own.
-- KEYS: life, total, open, new total, new open. ARGV: token, taken.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
if redis.call('HGET', KEYS[2], 'token') == ARGV[1] then
  redis.call('UNLINK', KEYS[4], KEYS[5])
  return {'ok'}
end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[4], 'token', ARGV[1], 'taken', ARGV[2])
redis.call('RENAME', KEYS[4], KEYS[2])
redis.call('PERSIST', KEYS[2])
if redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('RENAME', KEYS[5], KEYS[3])
  redis.call('PERSIST', KEYS[3])
end
return {'ok'}
