#!lua flags=allow-oom
-- End a reservation, once: what was not used goes back to where it was taken from.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5 ledger (stream)  6.. one per limit, in the order of the reservation
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id
--       4 mode: S settle: 5 the ledger's row, or nothing; 6.. the amount used per limit
--               C cancel a reservation whose answer was lost: nothing was used
--               E expire: its owner has not renewed the lease
-- Returns {how, reset}: 1 done, 2 settled after it had expired, 3 still alive (E), 4 nothing was
--         known of it (S, C), 0 it had ended before
--
-- The marker says how an id ended, so that ending it again changes nothing and a reserve that
-- was overtaken by its own cancellation takes nothing. An expired reservation stays in its
-- marker: its windows stay charged and age out by themselves, a period is charged what it was
-- last heard to have used, and a late settle corrects both to the truth.
--
-- What is charged and the row that says so are written together or not at all.

local ENDED, EXPIRED = 600000, 86400000  -- ms that markers are kept
local id, mode = ARGV[3], ARGV[4]
local now, reset = clock(KEYS[3], KEYS[2], ARGV[1], tonumber(ARGV[2]))
local marker = redis.call('GET', KEYS[4])
local expired = marker and string.sub(marker, 1, 1) == 'E'

if mode == 'E' then
  local ends = redis.call('ZSCORE', KEYS[2], id)
  if not ends then return {0, reset} end
  if tonumber(ends) > now then return {3, reset} end            -- renewed since the sweeper looked
elseif marker and not expired then
  return {0, reset}
end

local stored = redis.call('HGET', KEYS[1], id)
local late = not stored and expired
if late then stored = string.sub(marker, 2) end
local record = stored and unpacked(stored)
redis.call('HDEL', KEYS[1], id)
redis.call('ZREM', KEYS[2], id)
if mode == 'E' then
  if late or not record then return {0, reset} end
  local note = record.note
  record.note = ''
  redis.call('SET', KEYS[4], 'E' .. packed(record), 'PX', EXPIRED)
  if note ~= '' then
    redis.call('XADD', KEYS[5], '*', 'how', 'E', 'id', id, 'row', note,
      'tokens', text(record.used.t), 'cost', text(record.used.m))
  end
else
  redis.call('SET', KEYS[4], mode, 'PX', ENDED)
  if mode == 'S' and ARGV[5] ~= '' then
    redis.call('XADD', KEYS[5], '*', 'how', 'S', 'id', id, 'row', ARGV[5])
  end
end

local settle = {}

function settle.w(key, e, used)
  if mode == 'E' then return end
  if used > e.amount then
    return charge(window(key, tonumber(e.width), e.count, now), used - e.amount)
  end
  local held = tonumber(redis.call('HGET', key, e.at) or '0')   -- 0: it has left the window
  local back = math.min(e.amount - used, held)
  if back > 0 then
    redis.call('HINCRBY', key, e.at, text(-back))
    redis.call('HINCRBY', key, 's', text(-back))
  end
end

function settle.p(key, e, used)
  if redis.call('HEXISTS', key, 's' .. e.at) == 0 then return end   -- the period is forgotten
  local before = record.used[e.measure]                             -- charged when it expired
  if mode == 'E' then used = before end
  if late then
    used = used - before
  else
    redis.call('HINCRBY', key, 'r' .. e.at, text(-e.amount))
  end
  redis.call('HINCRBY', key, 's' .. e.at, text(used))
end

function settle.c(key) redis.call('ZREM', key, id) end

if record then
  for i, e in ipairs(record.entries) do
    settle[e.kind](KEYS[5 + i], e, tonumber(ARGV[5 + i] or '0'))
  end
  return {late and 2 or 1, reset}
end

if mode == 'S' then                      -- the store has lost it: a period is charged the truth
  for i = 6, #KEYS do
    local unit = string.match(KEYS[i], ':p:(%a+):')
    if unit then
      local at, ends = period(unit, now)
      redis.call('HINCRBY', KEYS[i], 's' .. text(at), ARGV[i])
      redis.call('PEXPIRE', KEYS[i], text(ends - now + DAY))
    end
  end
end
return {4, reset}
