import { sign, verifySigned } from '../core/digest.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { type ClientWrites, later } from '../sharding/replicas.ts'

const PURPOSE = 'causal'

/** What a client must send back to read its own writes. */
export interface CausalToken extends ClientWrites {
  /** The newest map epoch that the client has seen. */
  epoch: number
  /** The slots that it wrote, newest first: at most 8. Reads of these slots bypass the caches. */
  slots: string[]
  /** A D1 bookmark for each shard that it wrote, newest first: at most 8. Empty without replicas. */
  bookmarks: ReadonlyMap<string, string>
  /** True if older slots or bookmarks were dropped. The client may then have written any slot. */
  isPartial: boolean
}

/** The token as it is signed. */
interface SignedToken {
  epoch: number
  slots: string[]
  bookmarks?: [string, string][]
  isPartial?: true
  until: number
}

const SLOTS_MAX = 8
const SHARDS_MAX = 8
export const noToken: CausalToken = { epoch: 0, slots: [], bookmarks: new Map(), isPartial: false }

/** What a request has written. */
export interface Written {
  /** The epoch that it wrote with, or a newer one. */
  epoch: number
  slots: Iterable<string>
  bookmarks: ReadonlyMap<string, string>
}

/** The token after a request of a client who had `token`. */
export function advanced(token: CausalToken, written: Written): CausalToken {
  const slots = [...new Set([...[...written.slots].reverse(), ...token.slots])]
  const shards = [...new Set([...written.bookmarks.keys(), ...token.bookmarks.keys()])]
  const bookmarks = shards.slice(0, SHARDS_MAX).map((shard): [string, string] => {
    const bookmark = later(written.bookmarks.get(shard) ?? null, token.bookmarks.get(shard) ?? null)
    return [shard, present(bookmark, 'the bookmark of a shard with one')]
  })
  return {
    epoch: written.epoch,
    slots: slots.slice(0, SLOTS_MAX),
    bookmarks: new Map(bookmarks),
    isPartial: token.isPartial || slots.length > SLOTS_MAX || shards.length > SHARDS_MAX,
  }
}

export function formatCausalToken(signingKey: string, token: CausalToken, now: number): string {
  const { epoch, slots, bookmarks, isPartial } = token
  const signed: SignedToken = { epoch, slots, until: now + limits.causalTokenMs }
  if (bookmarks.size > 0) signed.bookmarks = [...bookmarks]
  if (isPartial) signed.isPartial = true
  return sign(signingKey, PURPOSE, signed)
}

/** The contents of a valid, unexpired token, or null. A client without a token loses only the hint. */
function parseCausalToken(signingKey: string, text: string, now: number): CausalToken | null {
  // An earlier version's token may lack fields.
  const token = verifySigned(signingKey, PURPOSE, text) as (Partial<SignedToken> & { until: number }) | null
  if (!token || token.until <= now) return null
  const { epoch = 0, slots = [], bookmarks = [], isPartial = false } = token
  return { epoch, slots, bookmarks: new Map(bookmarks), isPartial }
}

/** The client's token, from `x-causal-token` or the cookie. */
export function readCausalToken(request: Request, signingKey: string, now: number): CausalToken {
  const cookie = /(?:^|;\s*)__Host-causal=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1]
  const text = request.headers.get('x-causal-token') ?? cookie
  return (text && parseCausalToken(signingKey, text, now)) || noToken
}

/**
 * The slots that a client may have written: those of its causal token, and the slot of the user whose session token it
 * sends. That token need not be valid, because a client who claims a slot only gets slower answers. `all`: the token does not name all of them.
 */
export function ownSlotsOf(request: Request, { slots, isPartial }: CausalToken): ReadonlySet<string> | 'all' {
  if (isPartial) return 'all'
  const { headers } = request
  const sent = `${headers.get('authorization') ?? ''};${headers.get('cookie') ?? ''}`
  const slot = /(?:^Bearer |__Host-session=)([0-9a-f]{4})/i.exec(sent)?.[1]
  return new Set(slot ? [...slots, slot] : slots)
}
