import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type AccountTiers, logIn } from '../../../src/app/accounts/accounts.ts'
import { isCommonPassword } from '../../../src/app/accounts/common-passwords.ts'
import {
  checkNothing,
  checkPassword,
  hashPassword,
  isImportableHash,
  NO_PASSWORD,
  scryptCost,
} from '../../../src/app/accounts/passwords.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import { systemRandom } from '../../../src/core/random.ts'

const scrypt = vi.spyOn(crypto, 'scryptSync')
syncBuiltinESMExports()
const PASSWORD = 'a pass phrase of mine'

beforeEach(() => {
  scrypt.mockClear()
})

afterAll(() => {
  scrypt.mockRestore()
  syncBuiltinESMExports()
})

/** The cost of each derivation: N, r, p and the length of the hash. */
const work = () =>
  scrypt.mock.calls.map((call: unknown[]) => {
    const { N, r, p } = call[3] as crypto.ScryptOptions
    return { N, r, p, bytes: call[2] }
  })

const todaysWork = { N: 16_384, r: 8, p: 5, bytes: 32 }

describe('a password’s hash', () => {
  test('is a PHC string with its parameters, a random salt of 16 bytes, and 32 bytes', async () => {
    const phc = await hashPassword(PASSWORD, systemRandom)
    expect(phc).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    expect(await hashPassword(PASSWORD, systemRandom)).not.toBe(phc)
    expect(work()).toEqual([todaysWork, todaysWork])
  })

  test('is scrypt of RFC 7914: its third test vector, as a PHC string', async () => {
    // RFC 7914 §12: scrypt("pleaseletmein", "SodiumChloride", N=16384, r=8, p=1); the first 32 of its 64 bytes.
    const hash = '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2'
    const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
    const phc = `$scrypt$ln=14,r=8,p=1$${base64(Buffer.from('SodiumChloride'))}$${base64(Buffer.from(hash, 'hex'))}`
    expect(await checkPassword('pleaseletmein', phc)).toEqual({ fits: true, isOutdated: true })
    expect(await checkPassword('pleaseletmeIn', phc)).toEqual({ fits: false, isOutdated: true })
  })

  test.each([
    [PASSWORD, true],
    [`${PASSWORD} `, false],
    [PASSWORD.toUpperCase(), false],
    ['', false],
  ])('%j matches: %s', async (password, fits) => {
    expect(await checkPassword(password, await hashPassword(PASSWORD, systemRandom))).toEqual({
      fits,
      isOutdated: false,
    })
  })

  test.each([
    ['composed and decomposed', 'crème brûlée zehn', 'crème brûlée zehn'.normalize('NFD')],
    ['a ligature and its letters', 'ﬁnancial office', 'financial office'],
    ['wide and plain digits', '１２３４ pass phrase', '1234 pass phrase'],
  ])('uses the NFKC form: %s', async (_name, one, other) => {
    expect(one).not.toBe(other)
    const light = { ln: 2, r: 1, p: 1 }
    expect(await checkPassword(other, await hashPassword(one, systemRandom, light))).toMatchObject({ fits: true })
  })

  test.each([
    { ...scryptCost, ln: 13 },
    { ...scryptCost, r: 4 },
    { ...scryptCost, p: 1 },
  ])('of another cost ($ln, $r, $p) matches and is outdated', async (cost) => {
    const phc = await hashPassword(PASSWORD, systemRandom, cost)
    expect(await checkPassword(PASSWORD, phc)).toEqual({ fits: true, isOutdated: true })
  })

  test.each(['', '$argon2id$v=19$m=1$a$b', '$scrypt$ln=14,r=8$a$b', `x${'$scrypt$ln=14,r=8,p=5$AAAA$AAAA'}`])(
    'that is malformed (%j) is an error, not a mismatch',
    async (phc) => {
      await expect(checkPassword(PASSWORD, phc)).rejects.toThrow(/PHC/)
    },
  )
})

describe('the work of a log-in', () => {
  /** The tiers that a failing log-in needs, with an account's row or none. The counter admits it, or has admitted another. */
  const tiersWith = (row: object | null, attemptId = 'attempt'): AccountTiers => {
    const statement = { bind: () => statement }
    const answers = [[], [{ attemptId, nextAt: 2_000 }], row ? [row] : []]
    return {
      claims: { findOwner: async () => (row ? '0000owner' : null) },
      shards: {
        of: () => ({ prepare: () => statement, batch: async () => answers.map((results) => ({ results })) }),
      },
      random: systemRandom,
      ids: { plain: () => 'attempt' },
      settings: { signingKey: 'a key of at least 32 characters' },
      clock: { now: () => 0 },
    } as unknown as AccountTiers
  }

  test.each(['somebody@example.com', 'somebody'])(
    'an unknown login and a wrong password need the same work and get the same answer (%s)',
    async (login) => {
      const row = { id: '0000owner', passwordHash: await hashPassword(PASSWORD, systemRandom), passwordVersion: 1 }
      const tried = []
      for (const account of [row, null]) {
        scrypt.mockClear()
        const error = await logIn(
          tiersWith(account),
          { login, password: 'a wrong one' },
          { origin: 'http://localhost', userAgent: '' },
          null,
        ).catch((e) => e)
        expect(error).toBeInstanceOf(BanyanError)
        tried.push({ code: error.code, message: error.message, work: work() })
      }
      expect(tried[0]).toEqual({ code: 'WRONG_CREDENTIALS', message: expect.any(String), work: [todaysWork] })
      expect(tried[1]).toEqual(tried[0])
    },
  )

  test.each(['somebody@example.com', 'somebody'])(
    'a throttled attempt needs no work, known or unknown, even with the right password (%s)',
    async (login) => {
      const row = { id: '0000owner', passwordHash: await hashPassword(PASSWORD, systemRandom), passwordVersion: 1 }
      scrypt.mockClear()
      for (const account of [row, null]) {
        const tiers = tiersWith(account, 'another attempt')
        const error = await logIn(
          tiers,
          { login, password: PASSWORD },
          { origin: 'http://localhost', userAgent: '' },
          null,
        ).catch((e) => e)
        expect([error.code, error.retryAfterSeconds]).toEqual(['RATE_LIMITED', 2])
      }
      expect(work()).toEqual([])
    },
  )

  test('checking an unknown login derives one hash, at the current cost', async () => {
    await checkNothing(PASSWORD, systemRandom)
    expect(work()).toEqual([todaysWork])
  })
})

describe('common passwords', () => {
  test.each([
    'password123',
    'PassWord123',
    'qwertyuiop',
    'aaaaaaaaaa',
    '😀'.repeat(10),
    'abcdefghijkl',
    '9876543210',
    'lkjihgfedcba',
  ])('%j is common', (password) => {
    expect(isCommonPassword(password)).toBe(true)
  })

  test.each([PASSWORD, 'password123 too', 'aaaaaaaaab', 'abcdefghik', 'acegikmoqs'])('%j is not common', (password) => {
    expect(isCommonPassword(password)).toBe(false)
  })
})

describe('an imported hash', () => {
  const salt = 'c2FsdHNhbHRzYWx0c2FsdA'
  const hash = 'QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE'
  const phc = (cost: string, ofSalt = salt, ofHash = hash) => `$scrypt$${cost}$${ofSalt}$${ofHash}`
  const base64 = (bytes: number) => Buffer.alloc(bytes, 1).toString('base64').replace(/=+$/, '')

  test.each([
    ['ours', phc('ln=14,r=8,p=5')],
    ['passlib’s', phc('ln=16,r=8,p=1')],
    ['OWASP’s with 64 MiB', phc('ln=16,r=8,p=2')],
    ['with 64 bytes', phc('ln=14,r=8,p=1', salt, base64(64))],
  ])('%s is accepted', (_name, text) => {
    expect(isImportableHash(text)).toBe(true)
  })

  test.each([
    ['128 MiB, more than a Worker has', phc('ln=17,r=8,p=1')],
    ['more memory by r', phc('ln=14,r=64,p=1')],
    ['too much work', phc('ln=14,r=8,p=9')],
    ['an absurd cost', phc('ln=63,r=8,p=1')],
    ['a cost that is not a finite number', phc(`ln=${'9'.repeat(400)},r=8,p=1`)],
    ['too low a cost', phc('ln=9,r=8,p=1')],
    ['r = 0', phc('ln=14,r=0,p=1')],
    ['p = 0', phc('ln=14,r=8,p=0')],
    ['leading zeros', phc('ln=014,r=8,p=1')],
    ['a salt too short', phc('ln=14,r=8,p=1', base64(7))],
    ['a salt too long', phc('ln=14,r=8,p=1', base64(65))],
    ['a hash too short', phc('ln=14,r=8,p=1', salt, base64(31))],
    ['a hash too long', phc('ln=14,r=8,p=1', salt, base64(65))],
    ['non-zero padding bits', phc('ln=14,r=8,p=1', salt, `${hash.slice(0, -1)}F`)],
    ['padding', phc('ln=14,r=8,p=1', `${salt}==`)],
    ['bcrypt', '$2b$12$abcdefghijklmnopqrstuu5Kz1Qw6n9u3xYQJf3Yy0GJt8Jq0Vb2W'],
    ['argon2', `$argon2id$v=19$m=65536,t=3,p=4$${salt}$${hash}`],
    ['nothing', ''],
    ['the sign for no password', NO_PASSWORD],
    ['a line end after it', `${phc('ln=14,r=8,p=5')}\n`],
  ])('%s is refused', (_name, text) => {
    expect(isImportableHash(text)).toBe(false)
  })

  test('of 64 bytes is compared completely', async () => {
    // The third test vector of RFC 7914 §12.
    const whole =
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887'
    const text = `$scrypt$ln=14,r=8,p=1$${Buffer.from('SodiumChloride').toString('base64').replace(/=+$/, '')}$${Buffer.from(whole, 'hex').toString('base64').replace(/=+$/, '')}`
    expect((await checkPassword('pleaseletmein', text)).fits).toBe(true)
    expect((await checkPassword('pleaseletmeIn', text)).fits).toBe(false)
  })

  test('that is missing matches no password, and its check costs as much as every other', async () => {
    for (const password of [PASSWORD, NO_PASSWORD, ''])
      expect(await checkPassword(password, NO_PASSWORD)).toEqual({ fits: false, isOutdated: false })
    expect(work()).toEqual(Array(3).fill(todaysWork))
  })
})
