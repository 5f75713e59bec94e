import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { operator } from '../../../../src/app/accounts/restore.operator.ts'
import { faults } from '../../../support/platform/http.ts'
import { restoreStand, session } from '../../../support/platform/restore-stand.ts'

const stand = restoreStand([operator])
const { noteFile, other, write, read, moment, take, lookAgain, giveUp, callsUntilServing, killedAt } = stand
const { listed: listedIn } = stand
const accountsFile = stand.listFile('accounts')
const beforeFile = stand.listFile('accounts-before')

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

interface ListedClaim {
  lacks: string
  key: string
  kind: string
  accountId: string
}

const listed = () => listedIn<ListedClaim>('claims')

/** Writes an account and its two claims as the application does, each row in the shard that has its slot. */
async function signUp(id: string, email: string, handle: string, claimsAt = other()): Promise<void> {
  await write(
    `INSERT INTO accounts (id, email, password_hash, password_version, created_at) VALUES ('${id}', '${email}', '', 1, 1)`,
  )
  await write(
    `INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES ('${id}', '${handle}', '', '', 1, 1)`,
  )
  for (const [kind, value] of [
    ['email', email],
    ['handle', handle],
  ] as const) {
    const key = sha256(`${kind}\0${value}`)
    await claimsAt.query([
      {
        sql: "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', ?, 'active', 1) ON CONFLICT DO NOTHING",
        params: [key.slice(0, 4)],
      },
    ])
    await claimsAt.query([
      {
        sql: "INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES (?, ?, ?, 'a', 'confirmed', 1)",
        params: [key, kind, id],
      },
    ])
  }
}

test('claims of missing accounts, and accounts whose claims are missing, are listed', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  await signUp('0000leaves', 'leaves@example.com', 'leaves')
  const to = await moment()
  await signUp('0001new', 'new@example.com', 'newcomer')
  await write("DELETE FROM accounts WHERE id = '0000leaves'")
  await write("DELETE FROM profiles WHERE id = '0000leaves'")
  await other().query([{ sql: "DELETE FROM claims WHERE owner_id = '0000leaves'" }])
  const { json, text } = await take(to)
  expect(
    listed()
      .map(({ lacks, accountId, key }) => [lacks, accountId, key])
      .toSorted(),
  ).toEqual(
    [
      ['account', '0001new', sha256('email\0new@example.com')],
      ['account', '0001new', sha256('handle\0newcomer')],
      ['claim', '0000leaves', sha256('email\0leaves@example.com')],
      ['claim', '0000leaves', sha256('handle\0leaves')],
    ].toSorted(),
  )
  expect(json).toMatchObject({ lackingAccounts: 2, lackingClaims: 2, file: stand.listFile('claims') })
  expect(text).toContain('2 claims of missing accounts or of values that their accounts no longer have')
})

test('revived claims of an account on another shard that was deleted since are listed', async () => {
  await other().query([
    { sql: "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '8000', 'active', 1)" },
  ])
  const key = sha256('handle\0gone')
  await write(`INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', '${key.slice(0, 4)}', 'active', 1)`)
  await write(
    `INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES ('${key}', 'handle', '8000gone', 'a', 'confirmed', 1)`,
  )
  const to = await moment()
  await write('DELETE FROM claims')
  await take(to)
  expect(listed()).toEqual([{ lacks: 'account', key, kind: 'handle', accountId: '8000gone' }])
})

test('the shard is in service before the comparison; if that fails, it can be run later', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  const to = await moment()
  await write("DELETE FROM claims WHERE owner_id = '0000stays'")
  await other().query([{ sql: 'ALTER TABLE claims RENAME TO away' }])
  const { text } = await take(to)
  expect(stand.map.state).toBe('serving')
  expect(text).toContain('Its claims and accounts were not compared: ')
  expect(text).toContain('npm run banyan -- restore shard-000 --compare')
  expect(text).toContain('--bookmark=')
  await other().query([{ sql: 'ALTER TABLE away RENAME TO claims' }])
  await other().query([{ sql: "DELETE FROM claims WHERE kind = 'handle'" }])
  expect((await lookAgain()).text).toContain('1 claim missing for existing accounts')
  expect(listed()).toMatchObject([{ lacks: 'claim', kind: 'handle', accountId: '0000stays' }])
})

test('if the map changed during the comparison, the output asks to compare again', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  await other().query([{ sql: 'DELETE FROM claims' }])
  const opened = stand.deployment.deployment
  stand.deployment.deployment = () => ({ ...opened(), sleep: async () => void stand.map.epoch++ })
  expect((await lookAgain()).text).toContain('The map changed during the comparison')
})

test('consistent claims and accounts are reported as such; a retired claim needs no account that has its value', async () => {
  await signUp('0000stays', 'stays@example.com', 'stays')
  await claimOf('handle', 'previous', '0000stays', 'retired')
  await claimOf('handle', 'lost', '0001gone', 'retired')
  const { text } = await take(await moment())
  expect(text).toContain('Every claim has its account, and every account its claims.')
})

/** A claim at the other shard. */
async function claimOf(kind: string, value: string, ownerId: string, state = 'confirmed'): Promise<void> {
  const key = sha256(`${kind}\0${value}`)
  const sql =
    "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', ?, 'active', 1) ON CONFLICT DO NOTHING"
  await other().query([{ sql, params: [key.slice(0, 4)] }])
  const attempt = state === 'retired' ? 'retired-a' : 'b'
  await other().query([
    { sql: 'INSERT INTO claims VALUES (?, ?, ?, ?, ?, 1)', params: [key, kind, ownerId, attempt, state] },
  ])
}

describe('a restore to a time before a change of the handle', () => {
  const setUp = async () => {
    await signUp('0000ada', 'ada@example.com', 'ada')
    const to = await moment()
    await write("UPDATE profiles SET handle = 'lovelace' WHERE id = '0000ada'")
    const key = sha256('handle\0ada')
    const sql = "UPDATE claims SET state = 'retired', attempt_id = 'retired-a' WHERE key = ?"
    await other().query([{ sql, params: [key] }])
    await claimOf('handle', 'lovelace', '0000ada')
    return to
  }

  test('lists the claim that the account has given up, and the one that it no longer has', async () => {
    await take(await setUp())
    expect(listed()).toEqual([
      { lacks: 'claim', key: sha256('handle\0ada'), kind: 'handle', accountId: '0000ada' },
      { lacks: 'account', key: sha256('handle\0lovelace'), kind: 'handle', accountId: '0000ada' },
    ])
  })

  test('does not list a claim whose owner still has a job to run', async () => {
    const to = await setUp()
    await take(to)
    await write(
      `INSERT INTO outbox (id, owner_id, kind, body, state, attempts, due_at, created_at)
       VALUES ('0000job', '0000ada', 'claims.retire', '{}', 'waiting', 0, 1, 1)`,
    )
    await lookAgain()
    expect(listed().map(({ lacks }) => lacks)).toEqual(['claim'])
  })
})

const account = (id: string, { version = 1, email = `${id}@example.com` } = {}) =>
  `INSERT INTO accounts (id, email, password_hash, password_version, created_at) VALUES ('${id}', '${email}', 'PHC-SECRET', ${version}, 1)`

const NEW_PASSWORD = 'UPDATE accounts SET password_version = password_version + 1'

interface ListedAccount {
  accountId: string
  changes: string[]
  passwordVersion: number | null
}

const listedAccounts = () => listedIn<ListedAccount>('accounts')

/** The result of the application’s proof for a session. */
const proofOf = (id: string) =>
  write(`INSERT INTO session_guard (id, now) VALUES ('${id}', 2)`).then(
    () => 'live',
    (error: Error) => error.message,
  )

const MAIL =
  "INSERT INTO mail_tokens (id, user_id, purpose, email, secret_hash, expires_at) VALUES ('0000a', '0000b', 'verify-email', 'a', 'b', 1)"

describe('revoked rows that must not return', () => {
  test('an ended session and a used mail token are deleted when the shard returns to service', async () => {
    await write(session('0000ended'))
    await write(session('0001lives'))
    await write(MAIL)
    const to = await moment()
    await write("DELETE FROM sessions WHERE id = '0000ended'")
    await write('DELETE FROM mail_tokens')
    let atService: unknown
    stand.map.onServing = async () => {
      atService = [
        await read('SELECT id FROM sessions'),
        await read('SELECT id FROM mail_tokens'),
        await proofOf('0000ended'),
      ]
    }
    const { json, text } = await take(to)
    expect(atService).toEqual([[], [], expect.stringContaining('SESSION_ENDED')])
    expect(json).toMatchObject({ sessionsDeleted: 2, mailTokensDeleted: 1 })
    expect(text).toContain('Its users must log in again: 2 sessions and 1 mailed token were deleted.')
  })

  test('accounts with an older password or address, and created or deleted ones, are listed for the operator only', async () => {
    for (const id of ['0000same', '0000word', '0001both', '0001gone']) await write(account(id))
    const to = await moment()
    await write(`${NEW_PASSWORD} WHERE id IN ('0000word', '0001both')`)
    await write("UPDATE accounts SET email = 'other@example.com' WHERE id = '0001both'")
    await write("DELETE FROM accounts WHERE id = '0001gone'")
    await write(account('0000new'))
    const { json, text } = await take(to)
    expect(listedAccounts()).toEqual([
      { accountId: '0000new', changes: ['created'], passwordVersion: 1 },
      { accountId: '0000word', changes: ['password'], passwordVersion: 2 },
      { accountId: '0001both', changes: ['password', 'email'], passwordVersion: 2 },
      { accountId: '0001gone', changes: ['deleted'], passwordVersion: null },
    ])
    expect(json).toMatchObject({ accounts: { password: 2, email: 1, created: 1, deleted: 1, file: accountsFile } })
    expect(text).toContain('2 accounts with an older password, 1 with an older e-mail address')
    expect(text).toContain(`They are listed in ${accountsFile}.`)
    expect(text).toContain('Send these users a password reset')
    expect(statSync(accountsFile).mode & 0o777).toBe(0o600)
    expect(readFileSync(accountsFile, 'utf8')).not.toMatch(/example\.com|PHC-SECRET/)
    expect(existsSync(beforeFile)).toBe(false)
  })

  test('the note contains no address and no secret, and only its owner can read it', async () => {
    await write(account('0000ada'))
    const to = await moment()
    await killedAt('travelling', to)
    // The same form as the previous version's, so that either version resumes the other's restore.
    expect(JSON.parse(readFileSync(noteFile, 'utf8'))).toMatchObject({ accounts: { count: 1 } })
    expect(readFileSync(beforeFile, 'utf8')).toMatch(/^\["0000ada",1,"[\w-]{43}"\]\n$/)
    expect(statSync(beforeFile).mode & 0o777).toBe(0o600)
  })

  test('differences are found on all pages', async () => {
    await write(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11000)
      INSERT INTO accounts (id, email, password_hash, password_version, created_at)
      SELECT printf('0000%05d', i), printf('%d@example.com', i), '', 1, 1 FROM n`)
    const to = await moment()
    const changed = ['000000001', '000004999', '000005000', '000005001', '000010000', '000010001', '000011000']
    await write(`${NEW_PASSWORD} WHERE id IN ('${changed.join("', '")}')`)
    await write("DELETE FROM accounts WHERE id IN ('000007000', '000010999')")
    await take(to)
    const found = listedAccounts()
    expect(found.filter(({ changes }) => changes[0] === 'password').map(({ accountId }) => accountId)).toEqual(changed)
    expect(found.filter(({ changes }) => changes[0] === 'deleted').map(({ accountId }) => accountId)).toEqual([
      '000007000',
      '000010999',
    ])
    expect(found).toHaveLength(9)
  })

  test('a password version never names two passwords, even if a restore goes back before another one', async () => {
    await write(account('0000ada'))
    const first = await moment()
    await write(NEW_PASSWORD)
    const second = await moment()
    await write(NEW_PASSWORD)
    const versions = () => read('SELECT password_version AS version FROM accounts')
    await take(first) // 3 → 1, raised
    expect(await versions()).toEqual([{ version: 4 }])
    await take(second) // to the password that had 2
    expect(await versions()).toEqual([{ version: 5 }])
    expect(listedAccounts()).toEqual([{ accountId: '0000ada', changes: ['password'], passwordVersion: 4 }])
  })

  test('after an interruption at any call, the next run has the same result', { timeout: 60_000 }, async () => {
    await write(account('0000ada'))
    const wrong = async () => {
      await write(session('0000ended', '0000ada'))
      const to = await moment()
      await write('DELETE FROM sessions')
      await write(NEW_PASSWORD)
      return to
    }
    const calls = await callsUntilServing(await wrong())
    for (let number = 1; number <= calls; number++) {
      const what = `call ${number}`
      const to = await wrong()
      const [was] = await read('SELECT password_version AS version FROM accounts')
      stand.platform.goAwayAt(number)
      await expect(take(to), what).rejects.toThrow('did not answer')
      stand.platform.recover()
      const { json } = await take(to)
      expect(json, what).toMatchObject({
        sessionsDeleted: 1,
        accounts: { password: 1, email: 0, created: 0, deleted: 0 },
      })
      expect(await read('SELECT id FROM sessions'), what).toEqual([])
      expect(listedAccounts(), what).toEqual([
        { accountId: '0000ada', changes: ['password'], passwordVersion: was!.version },
      ])
      expect(await read('SELECT password_version AS version FROM accounts'), what).toEqual([
        { version: (was!.version as number) + 1 },
      ])
    }
  })

  test.each(faults)('%s at any call: deleted and listed rows are counted once', { timeout: 60_000 }, async (fault) => {
    await write(account('0000ada'))
    const wrong = async () => {
      await write(session('0000ended', '0000ada'))
      const to = await moment()
      await write(NEW_PASSWORD)
      return to
    }
    const calls = await callsUntilServing(await wrong())
    for (let number = 1; number <= calls; number += 3) {
      const to = await wrong()
      stand.platform.failAt(number, fault)
      const { json } = await take(to).catch(() => take(to))
      expect(json, `call ${number}`).toMatchObject({ sessionsDeleted: 1, accounts: { password: 1 } })
      stand.platform.recover()
    }
  })

  test('a run after a lost last answer reports what the previous run ended', async () => {
    await write(account('0000ada'))
    await write(session('0000ended', '0000ada'))
    const to = await moment()
    await write(NEW_PASSWORD)
    stand.map.failing = { to: 'serving', how: 'lost' }
    await expect(take(to)).rejects.toThrow('does not answer')
    await write(session('0000later', '0000ada'))
    const { json } = await take(to)
    expect(json).toMatchObject({ sessionsDeleted: 1, accounts: { password: 1 } })
    expect(await read('SELECT id FROM sessions')).toEqual([{ id: '0000later' }])
  })

  test('a shard that was returned to service by hand, then abandoned, loses its sessions, because it may be restored', async () => {
    await write(account('0000ada'))
    await write(session('0000ended', '0000ada'))
    const to = await moment()
    await write('DELETE FROM sessions')
    await write(NEW_PASSWORD)
    await killedAt('travelling', to)
    stand.map.state = 'serving'
    const { text } = await giveUp()
    expect(await read('SELECT id FROM sessions')).toEqual([])
    expect(listedAccounts()).toMatchObject([{ accountId: '0000ada', changes: ['password'] }])
    expect(text).toContain('1 account with an older password')
  })

  test('after an abandoned restore, the previous sessions are still valid', async () => {
    await write(account('0000ada'))
    await write(session('0000lives', '0000ada'))
    const to = await moment()
    await killedAt('reconciled', to)
    expect(await read('SELECT id FROM sessions')).toEqual([])
    await giveUp()
    expect(await proofOf('0000lives')).toBe('live')
  })

  test('revived sessions that an earlier version did not end are ended before the shard returns to service', async () => {
    await write(session('0000ended'))
    const to = await moment()
    await write('DELETE FROM sessions')
    await killedAt('reconciled', to)
    const { ended: _, accounts: __, ...old } = JSON.parse(readFileSync(noteFile, 'utf8')) as Record<string, unknown>
    writeFileSync(noteFile, JSON.stringify(old))
    await write(session('0000ended'))
    const { json, text } = await take(to)
    expect(await read('SELECT id FROM sessions')).toEqual([])
    expect(json).toMatchObject({ sessionsDeleted: 1, accounts: null })
    expect(text).toContain('Accounts were not compared')
  })

  test.each([
    ['lost', () => rmSync(beforeFile)],
    ['incomplete', () => writeFileSync(beforeFile, readFileSync(beforeFile, 'utf8').slice(0, -3))],
  ])('if the note of the accounts is %s, the output says so, and the shard returns to service', async (_, lose) => {
    await write(account('0000ada'))
    const to = await moment()
    await write(NEW_PASSWORD)
    await killedAt('travelling', to)
    lose()
    const { json, text } = await take(to)
    expect(json).toMatchObject({ accounts: null })
    expect(text).toContain('Ask the users of this shard to reset their passwords.')
    expect(stand.map.state).toBe('serving')
  })
})
