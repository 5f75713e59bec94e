import { encodeTime, ulid } from 'ulid'
import type { Clock } from './clock.ts'
import { sha256Hex } from './digest.ts'
import { hash16 } from './hash16.ts'
import type { Random } from './random.ts'

/**
 * Ids carry their route: `slot` (four lowercase hex digits) + ULID (26 lowercase Crockford characters) = 30 characters.
 * A user's slot is the hash of its own ULID. An id of something that a user owns has the user's slot and its own ULID.
 */
const ID = /^[0-9a-f]{4}[0-7][0-9a-hjkmnp-tv-z]{25}$/
const PLAIN_ID = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/
const SLOT_DIGITS = 4
const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz'
const TIME_CHARACTERS = 10
const RANDOM_BITS = 80

/** Ids are drawn so that any 16 in a row from one isolate cover the 16 sixteenths of the slot space (docs/decisions/0003). */
const STRATA = 16

export const slotText = (slot: number): string => slot.toString(16).padStart(SLOT_DIGITS, '0')

/** The slot of an id or of a hash-keyed row: its first four characters. */
export const slotOf = (id: string): string => id.slice(0, SLOT_DIGITS)

/** True for a well-formed id of any owned thing: canonical ULID, lowercase, 30 characters. */
export const isId = (text: string): boolean => ID.test(text)

/** True for a well-formed id whose slot is the hash of its ULID. Only user ids have this property. */
export const isUserId = (text: string): boolean =>
  isId(text) && slotText(hash16(text.slice(SLOT_DIGITS))) === slotOf(text)

/** True for a bare lowercase ULID: the id of something without a slot. */
export const isPlainId = (text: string): boolean => PLAIN_ID.test(text)

/**
 * The id of an imported user. Equal times (ms) and origins always give equal ids. The ULID's 80 random bits are the
 * first bits of the origin's SHA-256.
 */
export function derivedUserId(timeMs: number, origin: string): string {
  const ulidPart = derivedUlid(timeMs, origin)
  return slotText(hash16(ulidPart)) + ulidPart
}

/** The id of a thing of `ownerId`. Equal times (ms) and origins always give equal ids. */
export const derivedId = (ownerId: string, timeMs: number, origin: string): string =>
  slotOf(ownerId) + derivedUlid(timeMs, origin)

/** An id that belongs to no user, for work of the application itself. The name decides its slot. */
export const systemId = (name: string): string => slotText(hash16(name)) + derivedUlid(0, name)

function derivedUlid(timeMs: number, origin: string): string {
  const bits = BigInt(`0x${sha256Hex(origin).slice(0, RANDOM_BITS / 4)}`)
  let digits = ''
  for (let shift = RANDOM_BITS - 5; shift >= 0; shift -= 5) digits += CROCKFORD[Number((bits >> BigInt(shift)) & 31n)]
  return encodeTime(timeMs, TIME_CHARACTERS).toLowerCase() + digits
}

export interface IdSource {
  /** A new user's id. */
  userId(): string
  /** The id of a new thing that `ownerId` owns. It sorts by time among that owner's things. */
  ownedId(ownerId: string): string
  /** A bare lowercase ULID, for things without a slot (attempts, requests). */
  plain(): string
}

/** Creates ids. Use one per isolate: its only state is the part of the slot space that the next user comes from. */
export function createIdSource(clock: Clock, random: Random): IdSource {
  const plain = () => ulid(clock.now(), () => random.fraction()).toLowerCase()
  let next = Math.floor(random.fraction() * STRATA)
  return {
    plain,
    ownedId: (ownerId) => slotOf(ownerId) + plain(),
    userId() {
      // Bit-reversed counting (van der Corput): halves are even after 2 draws, quarters after 4, sixteenths after 16.
      const stratum = bitReverse4(next)
      next = (next + 1) % STRATA
      for (;;) {
        const candidate = plain()
        const slot = hash16(candidate)
        if (slot >>> 12 === stratum) return slotText(slot) + candidate
      }
    },
  }
}

function bitReverse4(value: number): number {
  return ((value & 1) << 3) | ((value & 2) << 1) | ((value & 4) >>> 1) | ((value & 8) >>> 3)
}
