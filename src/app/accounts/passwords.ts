import { scryptSync, timingSafeEqual } from 'node:crypto'
import { type Random, systemRandom } from '../../core/random.ts'

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

/** The hash of an account whose password is unknown. No password matches it until the user sets one. */
export const NO_PASSWORD = '!'

/** Limits of imported hashes, because a Worker has 128 MB and a log-in waits for the check. */
const IMPORTABLE = {
  lnMin: 10,
  memoryBytesMax: 67_108_864, // 128 · N · r
  workMax: 1_048_576, // N · r · p: 1.6 times Banyan's own hash
  saltBytesMin: 8,
  saltBytesMax: 64,
  hashBytesMin: 32,
  hashBytesMax: 64,
}

/** True for a PHC string of scrypt within the limits. */
export function isImportableHash(phc: string): boolean {
  const parts = parsePhc(phc)
  if (!parts) return false
  const { cost, salt, hash } = parts
  const cells = 2 ** cost.ln * cost.r
  return (
    unpaddedPhc(parts) === phc && // excludes leading zeros, and base64 with non-zero padding bits
    cost.ln >= IMPORTABLE.lnMin &&
    cost.r >= 1 &&
    cost.p >= 1 &&
    128 * cells <= IMPORTABLE.memoryBytesMax &&
    cells * cost.p <= IMPORTABLE.workMax &&
    isWithin(salt.length, IMPORTABLE.saltBytesMin, IMPORTABLE.saltBytesMax) &&
    isWithin(hash.length, IMPORTABLE.hashBytesMin, IMPORTABLE.hashBytesMax)
  )
}

const isWithin = (count: number, min: number, max: number): boolean => count >= min && count <= max

/** A PHC string: `$scrypt$ln=14,r=8,p=5$<salt>$<hash>`, base64 without padding. */
export async function hashPassword(password: string, random: Random, cost = scryptCost): Promise<string> {
  const salt = Buffer.from(random.bytes(SALT_BYTES))
  return unpaddedPhc({ cost, salt, hash: derive(password, salt, cost) })
}

interface Phc {
  cost: ScryptCost
  salt: Buffer
  hash: Buffer
}

const unpaddedPhc = ({ cost, salt, hash }: Phc): string =>
  `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${unpadded(salt)}$${unpadded(hash)}`

function parsePhc(phc: string): Phc | null {
  const [, ln, r, p, salt, hash] = PHC.exec(phc) ?? []
  if (salt === undefined || hash === undefined) return null
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) }
  return { cost, salt: Buffer.from(salt, 'base64'), hash: Buffer.from(hash, 'base64') }
}

/** Whether the password matches, and whether its hash has another cost than the current one. */
export async function checkPassword(password: string, phc: string): Promise<{ fits: boolean; isOutdated: boolean }> {
  if (phc === NO_PASSWORD) {
    await checkNothing(password, systemRandom)
    return { fits: false, isOutdated: false }
  }
  const parts = parsePhc(phc)
  if (!parts) throw new Error('a stored password hash is not a PHC string of scrypt')
  const { cost, salt, hash } = parts
  const derived = derive(password, salt, cost, hash.length)
  const isOutdated = cost.ln !== scryptCost.ln || cost.r !== scryptCost.r || cost.p !== scryptCost.p
  return { fits: hash.length === derived.length && timingSafeEqual(hash, derived), isOutdated }
}

/** For an unknown login. Takes as long as a real check, so that the answer's time does not reveal which logins exist. */
export async function checkNothing(password: string, random: Random): Promise<void> {
  derive(password, Buffer.from(random.bytes(SALT_BYTES)), scryptCost)
}

/** The synchronous form, because an isolate has one thread, and a callback would not be faster. */
function derive(password: string, salt: Buffer, { ln, r, p }: ScryptCost, hashBytes = HASH_BYTES): Buffer {
  return scryptSync(password.normalize('NFKC'), salt, hashBytes, {
    N: 2 ** ln,
    r,
    p,
    maxmem: MEMORY_BYTES_MIN + 256 * r * 2 ** ln,
  })
}

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
