import { base64url, sha256Hex } from '../core/digest.ts'
import { isId, isUserId, slotOf } from '../core/ids.ts'
import type { Random } from '../core/random.ts'

const SECRET_BYTES = 32
const SECRET = /^[A-Za-z0-9_-]{43}$/

export interface Token {
  userId: string
  sessionId: string
  secret: string
}

/** `<user id>.<session id>.<256-bit secret>`. Only the secret's SHA-256 is stored. */
export const formatToken = ({ userId, sessionId, secret }: Token): string => `${userId}.${sessionId}.${secret}`

/** The parts of a well-formed token, or null. */
export function parseToken(text: string): Token | null {
  const [userId, sessionId, secret, ...rest] = text.split('.')
  if (!userId || !sessionId || !secret || rest.length > 0) return null
  if (!isUserId(userId) || !isId(sessionId) || slotOf(userId) !== slotOf(sessionId) || !SECRET.test(secret)) return null
  return { userId, sessionId, secret }
}

export const newSecret = (random: Random): string => base64url(random.bytes(SECRET_BYTES))

export const hashSecret = (secret: string): string => sha256Hex(secret)
