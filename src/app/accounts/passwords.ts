import { scryptSync, timingSafeEqual } from 'node:crypto'
import type { Random } from '../../core/random.ts'

/** scrypt's cost: N = 2^ln, r, p. OWASP's Password Storage Cheat Sheet lists 2^14, 8, 5 among its equivalents. */
export interface ScryptCost {
  ln: number
  r: number
  p: number
}

export const scryptCost: ScryptCost = { ln: 14, r: 8, p: 5 }

const SALT_BYTES = 16
const HASH_BYTES = 32
const MEMORY_BYTES_MIN = 1_048_576
const PHC = /^\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

/** A PHC string: `$scrypt$ln=14,r=8,p=5$<salt>$<hash>`, base64 without padding. */
export async function hashPassword(password: string, random: Random, cost = scryptCost): Promise<string> {
  const salt = Buffer.from(random.bytes(SALT_BYTES))
  const hash = derive(password, salt, cost)
  return `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${unpadded(salt)}$${unpadded(hash)}`
}

/** Whether the password fits, and whether its hash was made at another cost than today's. */
export async function checkPassword(password: string, phc: string): Promise<{ fits: boolean; isOutdated: boolean }> {
  const match = PHC.exec(phc)
  if (!match) throw new Error('a stored password hash is not a PHC string of scrypt')
  const cost = { ln: Number(match[1]), r: Number(match[2]), p: Number(match[3]) }
  const hash = Buffer.from(match[5]!, 'base64')
  const derived = derive(password, Buffer.from(match[4]!, 'base64'), cost)
  const isOutdated = cost.ln !== scryptCost.ln || cost.r !== scryptCost.r || cost.p !== scryptCost.p
  return { fits: hash.length === derived.length && timingSafeEqual(hash, derived), isOutdated }
}

/** Takes as long as a check: for a login that nobody has. */
export async function checkNothing(password: string, random: Random): Promise<void> {
  derive(password, Buffer.from(random.bytes(SALT_BYTES)), scryptCost)
}

/** The form without a callback: an isolate has one thread, so waiting for another would be no shorter. */
function derive(password: string, salt: Buffer, { ln, r, p }: ScryptCost): Buffer {
  return scryptSync(password.normalize('NFKC'), salt, HASH_BYTES, {
    N: 2 ** ln,
    r,
    p,
    maxmem: MEMORY_BYTES_MIN + 256 * r * 2 ** ln,
  })
}

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
