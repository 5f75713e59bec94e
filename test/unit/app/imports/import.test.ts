import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { operator } from '../../../../src/app/imports/import.operator.ts'
import * as rules from '../../../../src/app/imports/record-rules.ts'
import { readMapping } from '../../../../src/cli/import/mapping.ts'
import { Staging } from '../../../../src/cli/import/staging.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-import-users-'))
afterAll(() => rmSync(folder, { recursive: true }))

const NOW = Date.UTC(2026, 6, 5)

/** Reads a CSV file: the records that can be imported, and the refused ones. */
async function read(text: string) {
  const file = path.join(folder, 'users.csv')
  writeFileSync(file, text)
  const staging = new Staging(operator, rules, 'users')
  try {
    await staging.load(file, () => undefined)
    staging.stage(readMapping(operator.fields, '', staging.columns()), NOW)
    const refusals: string[][] = []
    staging.check(({ values: [externalId = ''], code }) => refusals.push([externalId, code]))
    return { refusals, records: staging.page(0, 1_000).map(({ record }) => record) }
  } finally {
    staging.close()
  }
}

test('a user with a unique value of an earlier user is refused; refused users reserve no values', async () => {
  const { refusals, records } = await read(
    [
      'id,email,username',
      '1,a@example.com,ann',
      '2,A@Example.com ,bob',
      '3,c@example.com,ANN',
      '4,d@example.com,no',
      '5,d@example.com,dan',
      '5,e@example.com,eve',
      '6,f@example.com,bob',
    ].join('\n'),
  )
  expect(refusals).toEqual([
    ['2', 'EMAIL_TWICE'],
    ['3', 'HANDLE_TWICE'],
    ['4', 'HANDLE_INVALID'],
    ['5', 'EXTERNAL_ID_TWICE'],
  ])
  expect(records.map(({ externalId, handle }) => [externalId, handle])).toEqual([
    ['1', 'ann'],
    ['5', 'dan'],
    ['6', 'bob'],
  ])
})

describe('the mapping', () => {
  const columns = ['ID', 'E-Mail', 'user_name', 'Name', 'created']

  test('is guessed from the columns’ names unless it is given', () => {
    expect(readMapping(operator.fields, 'email=E-Mail', columns)).toEqual({
      externalId: 'ID',
      email: 'E-Mail',
      handle: 'user_name',
      displayName: 'Name',
      createdAt: 'created',
    })
    expect(readMapping(operator.fields, 'email=e_mail,displayName=,handle=name', columns)).toEqual({
      externalId: 'ID',
      email: 'E-Mail',
      handle: 'Name',
      createdAt: 'created',
    })
  })

  test.each([
    ['mail=E-Mail', '--map has "mail=E-Mail", which does not name a field.'],
    ['email', '--map has "email", which has no =.'],
    ['email=nothing', 'The file has no column "nothing".'],
    ['', undefined],
  ])('"%s"', (text, message) => {
    if (message) expect(() => readMapping(operator.fields, text, columns)).toThrow(message)
    else expect(readMapping(operator.fields, text, columns).email).toBe('E-Mail')
  })
})

/** The names in docs/operating/importing.md. */
test.each([
  ['externalId', ['external_id', 'id', 'user_id', 'uuid']],
  ['email', ['email', 'email_address', 'mail']],
  ['handle', ['handle', 'username', 'user_name', 'login', 'nickname']],
  ['displayName', ['display_name', 'name', 'full_name']],
  ['bio', ['bio', 'about']],
  ['createdAt', ['created_at', 'created', 'date_joined', 'joined_at']],
  ['emailVerifiedAt', ['email_verified_at', 'email_verified']],
  ['passwordHash', ['password_hash', 'password_digest', 'hashed_password', 'password']],
])('%s is guessed from each of its names, or from the first of several', (field, names) => {
  const required = ['externalId=a', 'email=b', 'handle=c'].filter((pair) => !pair.startsWith(field)).join()
  const plain = (name: string | undefined) => name?.replaceAll('_', '')
  for (const [index, name] of names.entries()) {
    const columns = ['a', 'b', 'c', ...names.slice(index).reverse()]
    expect(plain(readMapping(operator.fields, required, columns)[field])).toBe(plain(name))
  }
})

test.each([
  ['$scrypt$ln=14', 0],
  ['$argon2id$', 1],
  ['', 1],
])('with the password hash "%s", %d users have no password', async (hash, expected) => {
  const file = path.join(folder, 'hash.csv')
  writeFileSync(file, `id,email,username,password\n1,a@example.com,ann,${hash}\n`)
  const staging = new Staging(operator, rules, 'users')
  await staging.load(file, () => undefined)
  staging.stage(readMapping(operator.fields, '', staging.columns()), NOW)
  const { remarked } = staging.check(() => expect.fail('no user must be refused'))
  staging.close()
  expect(remarked).toEqual({ withoutPassword: expected })
})
