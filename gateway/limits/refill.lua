#!lua flags=allow-oom
-- Put back what a process has admitted into windows that the store has lost, and admit nothing
-- until the other processes have had the time to do the same.
--
-- KEYS: 1 leases (zset)  2 clock  3.. windows
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 ms that they may need
--       then per window: width  count  how many buckets follow  bucket  amount  bucket …
-- Returns {1, now, reset, epoch}
--
-- A bucket that has left its window stays away, and one of a clock that ran ahead counts as now.

local shard = clock(KEYS[2], KEYS[1], ARGV[1], tonumber(ARGV[2]))
redis.call('HSET', KEYS[2], 'quiet', text(shard.since + tonumber(ARGV[3])))
local a = 4
for i = 3, #KEYS do
  local w = window(KEYS[i], tonumber(ARGV[a]), tonumber(ARGV[a + 1]), shard.now)
  local buckets = tonumber(ARGV[a + 2])
  for b = a + 3, a + 1 + 2 * buckets, 2 do
    local bucket = math.min(tonumber(ARGV[b]), w.current)
    if bucket >= w.current - w.count then charge(w, tonumber(ARGV[b + 1]), bucket) end
  end
  a = a + 3 + 2 * buckets
end
return answer(1, shard)
