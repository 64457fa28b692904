#!lua flags=allow-oom
-- End a reservation, once: what was not used goes back to where it was taken from.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5.. one per limit, in the order of the reservation
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id
--       4 mode: S settle, with 5.. the amount used per limit
--               C cancel a reservation whose answer was lost: nothing was used
--               E expire: its owner has not renewed the lease
-- Returns {how, reset}: 1 done, 2 settled after it had expired, 3 still alive (E), 4 nothing was
--         known of it (S, C), 0 it had ended before
--
-- The marker says how an id ended, so that ending it again changes nothing and a reserve that
-- was overtaken by its own cancellation takes nothing. An expired reservation stays in its
-- marker: its windows stay charged and age out by themselves, a period is charged `least`, and
-- a late settle corrects both to the truth.

local ENDED, EXPIRED = 600000, 3600000   -- ms that markers are kept
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

local record = redis.call('HGET', KEYS[1], id)
local late = not record and expired
if late then record = string.sub(marker, 2) end
redis.call('HDEL', KEYS[1], id)
redis.call('ZREM', KEYS[2], id)
if mode == 'E' then
  if late or not record then return {0, reset} end
  redis.call('SET', KEYS[4], 'E' .. record, 'PX', EXPIRED)
else
  redis.call('SET', KEYS[4], mode, 'PX', ENDED)
end

local settle = {}

function settle.w(key, e, used)
  if mode == 'E' then return end
  local width = tonumber(e.width)
  if used > e.amount then
    return charge(window(key, width, e.count, now), used - e.amount)
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
  if mode == 'E' then used = e.least end
  if late then
    used = used - e.least
  else
    redis.call('HINCRBY', key, 'r' .. e.at, text(-e.amount))
  end
  redis.call('HINCRBY', key, 's' .. e.at, text(used))
end

function settle.c(key) redis.call('ZREM', key, id) end

if record then
  for i, e in ipairs(entries(record)) do
    settle[e.kind](KEYS[4 + i], e, tonumber(ARGV[4 + i] or '0'))
  end
  return {late and 2 or 1, reset}
end

if mode == 'S' then                      -- the store has lost it: a period is charged the truth
  for i = 5, #KEYS do
    local unit = string.match(KEYS[i], ':p:(%a+):')
    if unit then
      local at, ends = period(unit, now)
      redis.call('HINCRBY', KEYS[i], 's' .. text(at), ARGV[i])
      redis.call('PEXPIRE', KEYS[i], text(ends - now + DAY))
    end
  end
end
return {4, reset}
