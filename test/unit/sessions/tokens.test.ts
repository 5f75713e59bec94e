import { expect, test } from 'vitest'
import { systemRandom } from '../../../src/core/random.ts'
import { formatToken, hashSecret, newSecret, parseToken } from '../../../src/sessions/tokens.ts'

const owner = { userId: '2a1b01m85g7dbz0jemk30f5exg8274', sessionId: '2a1b01m85g7dbz0jemk30f5exg8275' }

test('a secret is 32 bytes of the source of randomness, and nothing else', () => {
  const asked: number[] = []
  const bytes = Uint8Array.from({ length: 32 }, (_, index) => index * 7)
  const random = {
    ...systemRandom,
    bytes(length: number) {
      asked.push(length)
      return bytes
    },
  }
  expect(Buffer.from(newSecret(random), 'base64url')).toEqual(Buffer.from(bytes))
  expect(asked).toEqual([32])
})

test('10,000 secrets differ, and so do their hashes', () => {
  const secrets = Array.from({ length: 10_000 }, () => newSecret(systemRandom))
  expect(new Set(secrets).size).toBe(10_000)
  expect(new Set(secrets.map(hashSecret)).size).toBe(10_000)
})

test('a token of another user’s session is malformed, because its ids have different slots', () => {
  const token = formatToken({ ...owner, secret: newSecret(systemRandom) })
  const other = token.replace(`.${owner.sessionId}.`, `.0000${owner.sessionId.slice(4)}.`)
  expect(parseToken(other)).toBeNull()
})
