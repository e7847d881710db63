-- In whatever epoch, lets the journal be asked about a decision's reservation when somebody needs the room.
-- KEYS: life, total, open. ARGV: any token, decision.
redis.call('ZADD', KEYS[3], 'XX', 0, ARGV[2])
return {'ok'}
