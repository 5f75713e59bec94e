import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { operator } from '../../../../src/app/imports/import.operator.ts'
import * as rules from '../../../../src/app/imports/record-rules.ts'
import { CsvRecords, csvLine } from '../../../../src/cli/import/csv.ts'
import { readMapping } from '../../../../src/cli/import/mapping.ts'
import { PlaceFile } from '../../../../src/cli/import/place.ts'
import { RefusedFile } from '../../../../src/cli/import/refused-file.ts'
import { SqlStatements, tableOf } from '../../../../src/cli/import/sql-statements.ts'
import { Staging } from '../../../../src/cli/import/staging.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { root } from '../../../../src/cli/shell/root.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-import-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0
function fileOf(text: string | Buffer, extension: string): string {
  const file = path.join(folder, `${++files}.${extension}`)
  writeFileSync(file, text)
  return file
}

const NOW = Date.UTC(2026, 6, 5)

/** Reads a file: the records that can be imported, and the refused ones. */
async function read(text: string | Buffer, { extension = 'sql', table = 'users', map = '' } = {}) {
  const staging = new Staging(operator, rules, table)
  try {
    await staging.load(fileOf(text, extension), () => undefined)
    staging.stage(readMapping(operator.fields, map, staging.columns()), NOW)
    const refused: [string, string][] = []
    const checked = staging.check(({ values: [externalId = ''], code }) => refused.push([externalId, code]))
    return { ...checked, refusals: refused, records: staging.page(0, 1_000).map(({ record }) => record) }
  } finally {
    staging.close()
  }
}

const pieces = (text: string, cuts: number[]): string[] => {
  const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b)
  return [...places, text.length].map((end, index) => text.slice(index === 0 ? 0 : places[index - 1]!, end))
}

describe('SQL is split into statements', () => {
  const statements = [
    "INSERT INTO a VALUES ('one; two', 'it''s; \"', X'3b', NULL);",
    '\n-- a comment; with an it\'s\nINSERT INTO "a;b" VALUES (1);',
    ' /* ; \' */ CREATE TABLE [x;] (`y;"` TEXT);',
    '\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n  INSERT INTO users VALUES (1);\n  SELECT CASE 1 WHEN 1 THEN 2 END;\nEND;',
    "SELECT replace('a\\nb','\\n',char(10)) -- ;\n;",
    ';',
  ]

  test('wherever the pieces of the file end', () => {
    const text = statements.join('')
    fc.assert(
      fc.property(fc.array(fc.nat()), (cuts) => {
        const splitter = new SqlStatements()
        const found = pieces(text, cuts).flatMap((piece) => splitter.push(piece))
        expect(found).toEqual(statements)
        expect(splitter.rest()).toBe('')
      }),
    )
  })

  test.each([
    ['INSERT INTO users VALUES (1);', 'users', false],
    ['insert or ignore into "us""ers" (a) values (1);', 'us"ers', false],
    ['-- x\nREPLACE INTO `users`(a) VALUES (1);', 'users', false],
    ['INSERT INTO main.users VALUES (1);', 'users', false],
    ['CREATE TABLE IF NOT EXISTS [users] (id);', 'users', true],
    ["CREATE TABLE 'users'(id);", 'users', true],
  ])('%s is for the table %s', (statement, table, makes) => {
    expect(tableOf(statement)).toEqual({ table, makes })
  })

  test.each(['CREATE INDEX i ON users (a);', "ATTACH 'x' AS users;", 'PRAGMA users;', 'DELETE FROM users;', 'COMMIT;'])(
    '%s is for no table',
    (statement) => {
      expect(tableOf(statement)).toBeNull()
    },
  )
})

describe('CSV', () => {
  const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\r', '\n', ' ', 'é', '🌳') })

  test('is read as it was written, wherever the pieces end', () => {
    const records = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(records, fc.array(fc.nat()), fc.boolean(), (written, cuts, isEnded) => {
        const text = written.map(csvLine).join('')
        const reader = new CsvRecords()
        const whole = isEnded ? text : text.slice(0, -2)
        expect([...pieces(whole, cuts).flatMap((piece) => reader.push(piece)), ...reader.end()]).toEqual(written)
      }),
    )
  })

  test('may have bare line feeds and blank lines', () => {
    const reader = new CsvRecords()
    expect([...reader.push('a,b\n\n"1\n2",3\n'), ...reader.end()]).toEqual([
      ['a', 'b'],
      ['1\n2', '3'],
    ])
  })

  test('is refused with the line of an error', () => {
    const broken = (text: string) => () => [new CsvRecords()].flatMap((reader) => [reader.push(text), reader.end()])
    expect(broken('a,b\n1,"x\ny" z\n')).toThrow('Line 3: " " follows a quoted field.')
    expect(broken('a,b\n1,2\n3,"x\n')).toThrow('Line 3: a quote is not closed.')
  })
})

const TABLE =
  'CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT, name TEXT, created_at, email_verified, password);\n'

describe('a dump', () => {
  test('may have several rows per statement, difficult literals and other tables', async () => {
    const {
      records,
      refusals,
      read: count,
    } = await read(`
      PRAGMA foreign_keys=OFF; BEGIN TRANSACTION;
      CREATE TABLE posts (id, body); INSERT INTO posts VALUES (1, 'INSERT INTO users VALUES (9);');
      ${TABLE}
      INSERT INTO users VALUES (2,'b@example.com','bob','O''Brien',1700000000,1,NULL),
        (10,'c@example.com','cy','Two'||char(10)||'lines',1700000000123,0,'x'),
        (1,'A@example.com','Ann',replace('a\\nb','\\n',char(10)),'2020-02-03 04:05:06',NULL,'$scrypt$…');
      CREATE TRIGGER t AFTER INSERT ON users BEGIN INSERT INTO users (id) VALUES (7); END;
      COMMIT;`)
    expect([count, refusals]).toEqual([3, [['10', 'HANDLE_INVALID']]])
    expect(records).toEqual([
      {
        externalId: '1',
        email: 'A@example.com',
        handle: 'Ann',
        displayName: 'a\nb',
        createdAt: '2020-02-03T04:05:06.000Z',
        passwordHash: '$scrypt$…',
      },
      {
        externalId: '2',
        email: 'b@example.com',
        handle: 'bob',
        displayName: "O'Brien",
        createdAt: '2023-11-14T22:13:20.000Z',
        emailVerifiedAt: '2023-11-14T22:13:20.000Z',
      },
    ])
  })

  test('only fills its table', async () => {
    const victim = fileOf('', 'sqlite')
    await read(`ATTACH '${victim}' AS other; CREATE TABLE other.x (y); VACUUM INTO '${victim}2'; ${TABLE}`)
    expect([statSync(victim).size, existsSync(`${victim}2`)]).toEqual([0, false])
  })

  test('reaches no other file, even if SQLite sees two statements in one', async () => {
    const other = path.join(folder, 'other.sqlite')
    // SQLite reads `$a(')` as a variable. Any other reader sees the start of a string, with no semicolon in it.
    const hidden = (sql: string) =>
      `CREATE TABLE users (id, email, username); INSERT INTO users VALUES ($a('), 1, 2); ${sql}; -- ';\n`
    await expect(read(hidden(`ATTACH '${other}' AS other`))).rejects.toThrow('not authorized')
    await expect(read(hidden(`COMMIT; VACUUM INTO '${other}'`))).rejects.toThrow(UserError)
    expect(existsSync(other)).toBe(false)
  })

  test('is read in the order of its row ids or, without row ids, of its external ids', async () => {
    const rows = "INSERT INTO users VALUES (10, 'a@example.com', 'aaa'), (9, 'b@example.com', 'bbb');"
    const ids = async (table: string) => (await read(table + rows)).records.map(({ externalId }) => externalId)
    expect(await ids('CREATE TABLE users (id INTEGER PRIMARY KEY, email, username);')).toEqual(['9', '10'])
    expect(
      await ids('CREATE TABLE users (id, email, username); CREATE INDEX i ON users (id, email, username);'),
    ).toEqual(['10', '9'])
    expect(await ids('CREATE TABLE users (id PRIMARY KEY, email, username) WITHOUT ROWID;')).toEqual(['10', '9'])
  })

  test('keeps ids beyond 2^53 and binary ids exactly', async () => {
    const { records } = await read(
      `CREATE TABLE users (id, email, username);
       INSERT INTO users VALUES (9223372036854775807, 'a@example.com', 'aaa'), (X'00FF10', 'b@example.com', 'bbb');`,
    )
    expect(records.map(({ externalId }) => externalId)).toEqual(['9223372036854775807', '00ff10'])
  })

  test.each([
    ['has only another table', 'CREATE TABLE people (id);', /no table "users".*The file has these tables: people/s],
    [
      'has rows without a table',
      "INSERT INTO users VALUES (1,'a','b');",
      /Statement 1, "INSERT INTO users.*no such table/s,
    ],
    ['is incomplete', `${TABLE}INSERT INTO users VALUES (1,'a@ex`, /ends in the middle of a statement/],
    [
      'lacks a column',
      'CREATE TABLE users (id, mail);',
      /No column was found for handle.*--map handle=COLUMN.*id, mail/s,
    ],
    [
      'is Latin-1',
      Buffer.from(`${TABLE}INSERT INTO users (id, name) VALUES (1, 'Zoë'), (2, 'René'), (3, 'Ann');`, 'latin1'),
      /not UTF-8, because 2 users.*--encoding windows-1252.*iconv -f LATIN1/s,
    ],
    ['is empty', '', /no table "users"/],
  ])('that %s is refused with a fix', async (_name, text, message) => {
    const error: UserError = await read(text).then(
      () => expect.fail('it was read'),
      (thrown) => thrown,
    )
    expect(error).toBeInstanceOf(UserError)
    expect(`${error.message}\n${error.fix}`).toMatch(message)
  })
})

describe('a CSV file', () => {
  test('has its columns in its first line, with or without a byte order mark', async () => {
    const text =
      '\ufeffid,email,username,about\r\n1,a@example.com,ann,"Line one,\nline two"\r\n2,b@example.com,bob,\r\n'
    const { records } = await read(text, { extension: 'csv', map: 'bio=about' })
    expect(records).toEqual([
      { externalId: '1', email: 'a@example.com', handle: 'ann', bio: 'Line one,\nline two' },
      { externalId: '2', email: 'b@example.com', handle: 'bob' },
    ])
  })

  test.each([
    ['a short record', 'id,email,username\n1,a@example.com\n', /Record 2 has 2 fields, but the header has 3\./],
    ['a repeated column', 'id,email,Email\n', /does not name the columns/],
    ['no content', '', /is empty/],
  ])('with %s is refused', async (_name, text, message) => {
    await expect(read(text, { extension: 'csv' })).rejects.toThrow(message)
  })
})

test('a folder is refused as input, and so is a file in a folder that cannot hold the refused users', async () => {
  const staging = new Staging(operator, rules, 'users')
  const refused = await staging.load(folder, () => undefined).catch((error: UserError) => error)
  staging.close()
  expect(refused).toBeInstanceOf(UserError)
  expect(refused).toMatchObject({ message: expect.stringMatching(/can't be read: EISDIR/) })
  expect(() => new RefusedFile(path.join(folder, 'nowhere', 'users.sql'), operator.reported)).toThrow(UserError)
})

describe('a sample', () => {
  const sampleOf = async (users: number, size: number) => {
    const staging = new Staging(operator, rules, 'users')
    try {
      const row = "n, n || '@example.com', 'user_' || n, NULL, 1700000000, 0, NULL"
      const rows = `WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < ${users})`
      await staging.load(fileOf(`${TABLE} INSERT INTO users ${rows} SELECT ${row} FROM a;`, 'sql'), () => undefined)
      staging.stage(readMapping(operator.fields, '', staging.columns()), NOW)
      staging.markRefused(['1', '4'])
      return staging.sample(size).map(({ n }) => n)
    } finally {
      staging.close()
    }
  }

  test('is spread evenly over the users that are not refused, or contains all of them', async () => {
    expect(await sampleOf(12, 5)).toEqual([2, 5, 7, 9, 11])
    expect(await sampleOf(13, 4)).toEqual([2, 5, 8, 11])
    expect(await sampleOf(6, 5)).toEqual([2, 3, 5, 6])
    expect(await sampleOf(1, 5)).toEqual([])
  })

  test('needs no memory for the users outside it', async () => {
    const rows =
      'WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 300000) SELECT n, n, n FROM a'
    const file = fileOf(`CREATE TABLE users (id, email, username); INSERT INTO users ${rows};`, 'sql')
    const script = `
      const { Staging } = await import(${JSON.stringify(path.join(root, 'src/cli/import/staging.ts'))})
      const fields = { externalId: { columns: [] } }
      const importer = { fields, reported: ['externalId'], remarks: [], examples: { columns: [] } }
      const staging = new Staging(importer, { readRow: (row) => row, uniqueIn: () => [] }, 'users')
      await staging.load(${JSON.stringify(file)}, () => {})
      staging.stage({ externalId: 'id' }, 0)
      console.log(staging.sample(1000).length)`
    const args = ['--max-old-space-size=32', '--input-type=module', '--eval', script]
    expect((await promisify(execFile)(process.execPath, args)).stdout.trim()).toBe('1000')
  }, 60_000)
})

describe('beside the input', () => {
  const identity = { fingerprint: 'f', url: 'u', source: 's', table: 't', mapping: 'm', reading: 'r' }
  const place = { now: NOW, acknowledged: 5, imported: 3, there: 1, refused: 1, remarked: { odd: 2 }, refusedBytes: 90 }

  test('the place is stored for the same import only', () => {
    const input = fileOf('', 'sql')
    const kept = new PlaceFile(input, identity)
    expect(kept.read()).toEqual({ place: null, isOther: false })
    kept.write(place)
    expect(new PlaceFile(input, identity).read()).toEqual({ place, isOther: false })
    expect(new PlaceFile(input, { ...identity, mapping: 'x' }).read()).toEqual({ place: null, isOther: true })
    expect(JSON.parse(readFileSync(kept.file, 'utf8'))).toMatchObject({ place: { imported: 3, odd: 2 } })
    // In the form of an earlier version.
    const { now: _, ...timeless } = place
    writeFileSync(kept.file, JSON.stringify({ identity, place: timeless }))
    expect(kept.read()).toEqual({ place: null, isOther: true })
    writeFileSync(kept.file, '{"identity":')
    expect(kept.read()).toEqual({ place: null, isOther: true })
    kept.remove()
    expect(kept.read()).toEqual({ place: null, isOther: false })
  })

  test('refused users written after the last stored place are written once', () => {
    const input = fileOf('', 'sql')
    const row = (externalId: string) => ({ values: [externalId, 'a,b', ''], code: 'C', detail: 'A "reason".' })
    const open = (bytes: number) => {
      const file = new RefusedFile(input, operator.reported)
      file.found(row('found'))
      return { file, kept: file.open(bytes) }
    }
    const first = open(0)
    first.file.append([row('one')])
    const { bytes } = first.file
    first.file.append([row('interrupted')])
    const second = open(bytes)
    expect(second.kept).toEqual(['one'])
    expect([second.file.reaches(bytes), second.file.reaches(bytes + 1)]).toEqual([true, false])
    second.file.append([row('interrupted'), row('two')])
    const [, ...lines] = new CsvRecords().push(readFileSync(second.file.file, 'utf8'))
    expect(lines.map(([id]) => id)).toEqual(['found', 'one', 'interrupted', 'two'])
    expect(lines[0]).toEqual(['found', 'a,b', '', 'C', 'A "reason".'])
  })
})
