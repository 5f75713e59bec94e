/** Users as other programs write them: each file is as its program makes it, and the people in it are the same. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { gzipSync, zstdCompressSync } from 'node:zlib'

interface Person {
  id: number
  email: string
  username: string
  name: string | null
  bio: string | null
  /** Milliseconds since 1970. */
  createdAt: number
  isVerified: boolean
}

const AT = Date.UTC(2024, 0, 2, 3, 4, 5)

export const people: Person[] = [
  {
    id: 1,
    email: 'ann@example.com',
    username: 'ann',
    name: 'Ann O\'Brien, "the 1st"; x',
    bio: 'Two\nlines',
    createdAt: AT + 678,
    isVerified: true,
  },
  { id: 2, email: 'bob@example.com', username: 'bob', name: null, bio: null, createdAt: AT, isVerified: false },
  {
    id: 3,
    email: 'zoe@example.com',
    username: 'zoe',
    name: 'Zoë 🌳',
    bio: 'C:\\new\tfolder',
    createdAt: AT + 1_000,
    isVerified: true,
  },
]

/** What the import makes of them. A file that keeps whole seconds says so. */
export const recordsOf = (of = people, unitMs = 1) =>
  of.map(({ id, email, username, name, bio, createdAt, isVerified }) => {
    const time = new Date(Math.floor(createdAt / unitMs) * unitMs).toISOString()
    return {
      externalId: String(id),
      email,
      handle: username,
      ...(name === null ? {} : { displayName: name }),
      ...(bio === null ? {} : { bio }),
      createdAt: time,
      ...(isVerified ? { emailVerifiedAt: time } : {}),
    }
  })

type Options = Partial<Record<'encoding' | 'delimiter' | 'escape' | 'null' | 'source', string>> & { fill?: boolean }

export interface ForeignFile {
  /** Which program writes it. */
  by: string
  name: string
  bytes: Buffer
  options?: Options
  /** The users of it that can be imported. */
  records?: object[]
  /** External ids of those that are refused, with their codes. */
  refused?: [string, string][]
  /** Where the whole file is refused: how to fix it, as the user is told. */
  fix?: RegExp
}

// ── dumps ─────────────────────────────────────────────────────────────────────────────────────────

const literal = (value: string | number | null): string =>
  value === null ? 'NULL' : typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`

/** `sqlite3 .dump` before 3.50 writes line breaks so. */
const withReplace = (value: string | null): string =>
  value?.includes('\n') ? `replace(${literal(value.replaceAll('\n', '\\n'))},'\\n',char(10))` : literal(value)

/** `sqlite3 .dump` since 3.50 writes control characters so. */
function withUnistr(value: string | null): string {
  if (value === null || !/\p{Cc}/u.test(value)) return literal(value)
  const coded = (one: string) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`
  return `unistr(${literal(value.replaceAll('\\', '\\\\').replace(/\p{Cc}/gu, coded))})`
}

const sqlTime = (at: number): string => new Date(at).toISOString().replace('T', ' ').replace('Z', '')

const rowOf = (person: Person, text = withReplace): string =>
  [
    person.id,
    literal(person.email),
    literal(person.username),
    text(person.name),
    text(person.bio),
    literal(sqlTime(person.createdAt)),
    person.isVerified ? 1 : 0,
  ].join(',')

const COLUMNS = 'id INTEGER PRIMARY KEY, email TEXT, username TEXT, name TEXT, bio TEXT, created_at, email_verified'
const inserts = (text = withReplace, table = 'users') =>
  people.map((person) => `INSERT INTO ${table} VALUES(${rowOf(person, text)});\n`).join('')
const dump = (schema: string, rows = inserts()) =>
  `PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n${schema}\n${rows}COMMIT;\n`
const plainDump = dump(`CREATE TABLE users (${COLUMNS});`)

/** A schema that the sqlite3 command and D1 accept, with all that stands beside the rows in a real dump. */
const wholeSchemaDump = `PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT COLLATE unicode_nocase UNIQUE);
INSERT INTO teams VALUES(1,uuid7());
CREATE TABLE users(id integer primary key autoincrement, email text unique collate nocase, username text not null,
  name text, bio text /* a "bio"; */, created_at text default CURRENT_TIMESTAMP, email_verified int default "0", -- it's so
  role text not null default "user" check (role in ("admin", "user")), team int references teams(id) on delete cascade,
  avatar blob, lower_email text generated always as (lower(email)) virtual, "odd ""name""" [some type]);
${people.map((person) => `INSERT INTO users VALUES(${rowOf(person)},'user',9,X'00ff1e',NULL);\n`).join('')}PRAGMA writable_schema=ON;
INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table','users_fts','users_fts',0,'CREATE VIRTUAL TABLE users_fts using fts5(username)');
CREATE TABLE IF NOT EXISTS 'users_fts_data'(id INTEGER PRIMARY KEY, block BLOB);
INSERT INTO users_fts_data VALUES(1,X'');
CREATE TABLE IF NOT EXISTS 'users_fts_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('users',3);
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1);
CREATE VIEW v as select * from users;
CREATE TRIGGER t after insert on users begin insert into users_fts(rowid,username) values (new.id,new.username); delete from users; end;
CREATE INDEX i on users(soundex(email));
PRAGMA writable_schema=OFF;
COMMIT;
`

const d1Export = `PRAGMA defer_foreign_keys=TRUE;
CREATE TABLE d1_migrations(
\t\tid         INTEGER PRIMARY KEY AUTOINCREMENT,
\t\tname       TEXT UNIQUE,
\t\tapplied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);
INSERT INTO "d1_migrations" ("id","name","applied_at") VALUES(1,'0001_users.sql','2024-01-01 00:00:00');
CREATE TABLE IF NOT EXISTS "users" (${COLUMNS});
${people.map((person) => `INSERT INTO "users" ("id","email","username","name","bio","created_at","email_verified") VALUES(${rowOf(person)});\n`).join('')}DELETE FROM sqlite_sequence;
`

/** Functions and collations that only the application's own connection has. */
const ownFunctionsDump = dump(
  `CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT COLLATE icu UNIQUE CHECK (email REGEXP '^.+@.+$'),
    username TEXT DEFAULT (nanoid(8, 'a,b')), name TEXT, bio TEXT, created_at, email_verified, search AS (fold(name)) STORED,
    CONSTRAINT long_enough CHECK (length(username) > 2), UNIQUE (username, name));`,
)

const strictDump = dump(
  `CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT, name TEXT, bio TEXT, created_at TEXT,
    email_verified INTEGER) STRICT, WITHOUT ROWID;`,
)

const odd = (id: number, username: string, bio: string) =>
  `INSERT INTO users VALUES(${id},'${username}@example.com','${username}',NULL,${bio},NULL,0);\n`
const oddDump = Buffer.concat([
  Buffer.from(plainDump.replace('COMMIT;\n', '')),
  Buffer.from(odd(11, 'nul_one', "'a'||char(0)||'b'")),
  Buffer.from(odd(12, 'nul_two', "unistr('a\\u0000b')")),
  Buffer.from(odd(13, 'nul_three', "'a\0b'")),
  Buffer.from(odd(14, 'nul_four', "CAST(X'610062' AS TEXT)")),
  Buffer.from(odd(15, 'blob', "X'616263'")),
  Buffer.from(odd(16, 'half', "unistr('\\ud800')")),
  Buffer.from(odd(17, 'bytes', "CAST(X'61ff' AS TEXT)")),
  Buffer.from(odd(18, 'latin', "'Ren\u00e9'"), 'latin1'),
  Buffer.from(odd(19, 'long', `'${'x'.repeat(3_000_000)}'`)),
  Buffer.from("INSERT INTO users VALUES(20,'twenty@example.com',1234,5678,9,1704164645,0);\n"),
  Buffer.from("INSERT INTO users VALUES(21,'bob@example.com','bobby',NULL,NULL,NULL,0);\n"),
  Buffer.from(odd(22, 'own', "'It is \ufffd'")),
  Buffer.from(`INSERT INTO avatars VALUES(1,X'${'00'.repeat(1_000_000)}');\nCOMMIT;\n`),
])

// ── files of records ──────────────────────────────────────────────────────────────────────────────

const header = ['id', 'email', 'username', 'name', 'bio', 'created_at', 'email_verified']
type Cell = string | null

const cellsOf = (person: Person, time: (at: number) => string, yes = '1', no = '0'): Cell[] => [
  String(person.id),
  person.email,
  person.username,
  person.name,
  person.bio,
  time(person.createdAt),
  person.isVerified ? yes : no,
]

const quotedIf = (pattern: RegExp) => (cell: Cell) =>
  cell === null ? '' : pattern.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell

const recordsText = (rows: Cell[][], write: (cell: Cell) => string, delimiter: string, end: string): string =>
  [header, ...rows].map((row) => row.map(write).join(delimiter) + end).join('')

const postgresTime = (at: number) => `${sqlTime(at)}+00`
const postgresCsv = recordsText(
  people.map((person) => cellsOf(person, postgresTime, 't', 'f')),
  quotedIf(/[",\r\n]/),
  ',',
  '\n',
)

const backslashed = (cell: Cell): string =>
  cell === null
    ? '\\N'
    : cell.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n').replaceAll('\r', '\\r')
const postgresText = recordsText(
  people.map((person) => cellsOf(person, postgresTime, 't', 'f')),
  backslashed,
  '\t',
  '\n',
)

const mysqlTime = (at: number) => sqlTime(at).slice(0, 19)
/** SELECT … INTO OUTFILE … FIELDS TERMINATED BY ',' ENCLOSED BY '"': NULL is \N, and a line break is itself behind a backslash. */
const mysqlOutfile = recordsText(
  people.map((person) => cellsOf(person, mysqlTime)),
  (cell) => (cell === null ? '\\N' : `"${cell.replace(/["\\\n]/g, '\\$&')}"`),
  ',',
  '\n',
)
const mysqlBatch = recordsText(
  people.map((person) => cellsOf(person, mysqlTime)),
  (cell) => (cell === null ? 'NULL' : backslashed(cell)),
  '\t',
  '\n',
)

const excelCells = people.map((person) => cellsOf(person, sqlTime, 'TRUE', 'FALSE'))
const excel = (delimiter: string, trailing: string) =>
  recordsText(excelCells, quotedIf(new RegExp(`["\\r\\n${delimiter}]`)), delimiter, `${trailing}\r\n`)

const utf16be = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()
const pandasCsv = [
  `,${header.join(',')}\n`,
  ...people.map(
    (person, index) =>
      `${index},${cellsOf(person, (at) => new Date(at).toISOString().replace('Z', '+00:00'), 'True', 'False')
        .map(quotedIf(/[",\r\n]/))
        .join(',')}\n`,
  ),
].join('')

const latinCsv = Buffer.from(
  'id,email,username,name\n1,rene@example.com,rene,René\n2,zoe@example.com,zoe,Zoë\n3,ann@example.com,ann,Ann\n',
  'latin1',
)
const latinRecords = [
  { externalId: '1', email: 'rene@example.com', handle: 'rene', displayName: 'René' },
  { externalId: '2', email: 'zoe@example.com', handle: 'zoe', displayName: 'Zoë' },
  { externalId: '3', email: 'ann@example.com', handle: 'ann', displayName: 'Ann' },
]

const oddCsv = Buffer.concat([
  Buffer.from(postgresCsv),
  Buffer.from('11,nul@example.com,nul,,a\0b,,f\n'),
  Buffer.from('12,latin@example.com,latin,Ren\u00e9,,,f\n', 'latin1'),
  Buffer.from('13,short@example.com,short\n'),
  Buffer.from('14,more@example.com,more,More,one, two,2024-01-02,f\n'),
  Buffer.from(`15,long@example.com,long,,"${'x""\n,'.repeat(600_000)}",,f\n`),
  Buffer.from('16,february@example.com,february,,,2024-02-30 00:00:00,f\n'),
  Buffer.from('1,again@example.com,again,,,,f\n'),
  Buffer.from('18,last@example.com,last,"It is \ufffd",,,f'),
])

const refusedAlone = [
  { externalId: '22', email: 'own@example.com', handle: 'own', bio: 'It is \ufffd' },
  { externalId: '18', email: 'last@example.com', handle: 'last', displayName: 'It is \ufffd' },
]

// ── files that are no text ────────────────────────────────────────────────────────────────────────

function sqliteDatabase(): Buffer {
  const folder = mkdtempSync(path.join(tmpdir(), 'banyan-test-sqlite-'))
  const file = path.join(folder, 'users.db')
  const database = new DatabaseSync(file)
  database.exec(`CREATE TABLE users (${COLUMNS})`)
  database.close()
  const bytes = readFileSync(file)
  rmSync(folder, { recursive: true })
  return bytes
}

function tar(): Buffer {
  const block = Buffer.alloc(1_024)
  block.write('users.sql')
  block.write('ustar\0', 257)
  return block
}

const beginning = (...bytes: (number | string)[]): Buffer =>
  Buffer.concat([
    ...bytes.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))),
    Buffer.alloc(64, 0xa5),
  ])

const bom16 = '\ufeff'

/** Made anew for each caller, since some are large. */
export const foreignFiles = (): ForeignFile[] => [
  { by: 'sqlite3 .dump', name: 'users.sql', bytes: Buffer.from(plainDump), records: recordsOf() },
  {
    by: 'sqlite3 .dump, 3.50 and later',
    name: 'users.sql',
    bytes: Buffer.from(dump(`CREATE TABLE users (${COLUMNS});`, inserts(withUnistr))),
    records: recordsOf(),
  },
  {
    by: 'sqlite3 .dump of a whole schema, with double-quoted texts, fts5, triggers and views',
    name: 'users.sql',
    bytes: Buffer.from(wholeSchemaDump),
    records: recordsOf(),
  },
  { by: 'wrangler d1 export', name: 'users.sql', bytes: Buffer.from(d1Export), records: recordsOf() },
  {
    by: 'sqlite3 .dump of an application with functions and collations of its own',
    name: 'users.sql',
    bytes: Buffer.from(ownFunctionsDump),
    records: recordsOf(),
  },
  { by: 'sqlite3 .dump of a strict table', name: 'users.sql', bytes: Buffer.from(strictDump), records: recordsOf() },
  {
    by: 'sqlite3 .dump with odd values',
    name: 'users.sql',
    bytes: oddDump,
    records: [...recordsOf(), refusedAlone[0]!],
    refused: [
      ['11', 'BIO_INVALID'],
      ['12', 'BIO_INVALID'],
      ['13', 'BIO_INVALID'],
      ['14', 'BIO_INVALID'],
      ['15', 'BIO_INVALID'],
      ['16', 'BIO_INVALID'],
      ['17', 'BIO_INVALID'],
      ['18', 'BIO_INVALID'],
      ['19', 'BIO_INVALID'],
      ['20', 'HANDLE_INVALID'],
      ['21', 'EMAIL_TWICE'],
    ],
  },
  {
    by: 'two dumps of one table, one after the other',
    name: 'users.sql',
    bytes: Buffer.from(plainDump + inserts()),
    records: recordsOf(),
    refused: [
      ['1', 'EXTERNAL_ID_TWICE'],
      ['2', 'EXTERNAL_ID_TWICE'],
      ['3', 'EXTERNAL_ID_TWICE'],
    ],
  },
  {
    by: 'PowerShell, sqlite3 .dump > users.sql',
    name: 'users.sql',
    bytes: Buffer.from(bom16 + plainDump.replaceAll('\n', '\r\n'), 'utf16le'),
    records: recordsOf(),
  },
  { by: 'gzip', name: 'users.sql.gz', bytes: gzipSync(plainDump), records: recordsOf() },
  {
    by: 'gzip, of a file in two members and UTF-16',
    name: 'export.gz',
    bytes: Buffer.concat([gzipSync(utf16be(bom16)), gzipSync(utf16be(plainDump))]),
    records: recordsOf(),
  },
  { by: 'PostgreSQL, \\copy … CSV HEADER', name: 'users.csv', bytes: Buffer.from(postgresCsv), records: recordsOf() },
  {
    by: 'PostgreSQL, COPY as text',
    name: 'users.tsv',
    bytes: Buffer.from(postgresText),
    options: { escape: 'backslash' },
    records: recordsOf(),
  },
  {
    by: 'PostgreSQL, COPY as text, escapes not said',
    name: 'users.txt',
    bytes: Buffer.from(postgresText),
    fix: /^Pass --escape backslash if MySQL or COPY without CSV wrote the file .*otherwise --escape none\.$/,
  },
  {
    by: 'PostgreSQL, COPY … CSV NULL \\N',
    name: 'users.csv',
    bytes: Buffer.from(postgresCsv.replace('bob,,,', 'bob,\\N,\\N,')),
    options: { escape: 'none' },
    records: recordsOf(),
  },
  {
    by: 'MySQL, SELECT … INTO OUTFILE',
    name: 'users.csv',
    bytes: Buffer.from(mysqlOutfile),
    options: { escape: 'backslash' },
    records: recordsOf(people, 1_000),
  },
  {
    by: 'MySQL, SELECT … INTO OUTFILE, escapes not said',
    name: 'users.csv',
    bytes: Buffer.from(mysqlOutfile),
    fix: /pass --escape backslash\.$/,
  },
  {
    by: 'mysql --batch',
    name: 'users.tsv',
    bytes: Buffer.from(mysqlBatch),
    options: { escape: 'backslash', null: 'NULL' },
    records: recordsOf(people, 1_000),
  },
  {
    by: 'Excel, CSV UTF-8 with semicolons and empty columns behind',
    name: 'users.csv',
    bytes: Buffer.from(`\ufeff${excel(';', ';;')}`),
    records: recordsOf(),
  },
  {
    by: 'Excel, CSV with commas and empty columns behind',
    name: 'users.csv',
    bytes: Buffer.from(excel(',', ',,,')),
    records: recordsOf(),
  },
  {
    by: 'Excel, with the delimiters of some empty fields left out',
    name: 'users.csv',
    bytes: Buffer.from('id;email;username;name;bio\r\n1;ann@example.com;ann\r\n2;bob@example.com;bob;;x\r\n'),
    options: { fill: true },
    records: [
      { externalId: '1', email: 'ann@example.com', handle: 'ann' },
      { externalId: '2', email: 'bob@example.com', handle: 'bob', bio: 'x' },
    ],
  },
  {
    by: 'a line break without quotes',
    name: 'users.csv',
    bytes: Buffer.from('id,email,username,bio,team\n1,ann@example.com,ann,one\ntwo,x\n2,bob@example.com,bob,,\n'),
    records: [{ externalId: '2', email: 'bob@example.com', handle: 'bob' }],
    refused: [
      ['1', 'RECORD_INVALID'],
      ['two', 'RECORD_INVALID'],
    ],
  },
  {
    by: 'UTF-16 with more halves of characters than letters beyond ASCII',
    name: 'users.csv',
    bytes: Buffer.from(
      'id,email,username,bio\n1,a@example.com,ann,\ud800\n2,b@example.com,bob,\udc00\n3,c@example.com,cyd,\n',
      'utf16le',
    ),
    records: [{ externalId: '3', email: 'c@example.com', handle: 'cyd' }],
    refused: [
      ['1', 'BIO_INVALID'],
      ['2', 'BIO_INVALID'],
    ],
  },
  {
    by: 'Excel, with sep=; in the first line',
    name: 'users.csv',
    bytes: Buffer.from(`\ufeffsep=;\r\n${excel(';', '')}`),
    records: recordsOf(),
  },
  {
    by: 'Excel, Unicode text',
    name: 'users.txt',
    bytes: Buffer.from(bom16 + excel('\t', ''), 'utf16le'),
    records: recordsOf(),
  },
  {
    by: 'PowerShell, Export-Csv -Encoding BigEndianUnicode without a byte order mark',
    name: 'users.csv',
    bytes: utf16be(excel(',', '')),
    records: recordsOf(),
  },
  { by: 'pandas, to_csv with its index', name: 'users.csv', bytes: Buffer.from(pandasCsv), records: recordsOf() },
  {
    by: 'a CSV file with odd values',
    name: 'users.csv',
    bytes: oddCsv,
    records: [...recordsOf(), refusedAlone[1]!],
    refused: [
      ['11', 'BIO_INVALID'],
      ['12', 'DISPLAY_NAME_INVALID'],
      ['13', 'RECORD_INVALID'],
      ['14', 'RECORD_INVALID'],
      ['15', 'RECORD_INVALID'],
      ['16', 'CREATED_AT_INVALID'],
      ['1', 'EXTERNAL_ID_TWICE'],
    ],
  },
  {
    by: 'UTF-16 with half a character',
    name: 'users.csv',
    bytes: Buffer.from(
      `${bom16}id,email,username,bio\n1,ann@example.com,ann,\ud800\n2,bob@example.com,bob,🌳\n`,
      'utf16le',
    ),
    records: [{ externalId: '2', email: 'bob@example.com', handle: 'bob', bio: '🌳' }],
    refused: [['1', 'BIO_INVALID']],
  },
  {
    by: 'Latin-1',
    name: 'users.csv',
    bytes: latinCsv,
    fix: /--encoding windows-1252.*iconv -f LATIN1 -t UTF-8.*--encoding utf-8/s,
  },
  {
    by: 'Latin-1, encoding said',
    name: 'users.csv',
    bytes: latinCsv,
    options: { encoding: 'latin1' },
    records: latinRecords,
  },
  {
    by: 'Latin-1, said to be UTF-8',
    name: 'users.csv',
    bytes: latinCsv,
    options: { encoding: 'utf-8' },
    records: latinRecords.slice(2),
    refused: [
      ['1', 'DISPLAY_NAME_INVALID'],
      ['2', 'DISPLAY_NAME_INVALID'],
    ],
  },
  {
    by: 'a header with two delimiters',
    name: 'users.csv',
    bytes: Buffer.from('id;email;username;name, first\n1;ann@example.com;ann;Ann\n'),
    fix: /--delimiter "," or --delimiter ";"/,
  },
  {
    by: 'a header with two delimiters, one said',
    name: 'users.csv',
    bytes: Buffer.from('id;email;username;name, first\n1;ann@example.com;ann;Ann\n'),
    options: { delimiter: ';' },
    records: [{ externalId: '1', email: 'ann@example.com', handle: 'ann' }],
  },
  {
    by: 'SQLite',
    name: 'users.db',
    bytes: sqliteDatabase(),
    fix: /sqlite3 users\.db \.dump > users\.sql\nand import users\.sql/,
  },
  {
    by: 'pg_dump -Fc',
    name: 'users.dump',
    bytes: beginning('PGDMP', 1, 14, 0),
    fix: /pg_restore -d DATABASE users\.dump.*\\copy users TO 'users\.csv' WITH \(FORMAT csv, HEADER\)/s,
  },
  {
    by: 'pg_dump',
    name: 'users.sql',
    bytes: Buffer.from('--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n'),
    fix: /psql DATABASE -c "\\copy users TO 'users\.csv' WITH \(FORMAT csv, HEADER\)"/,
  },
  {
    by: 'mysqldump',
    name: 'users.sql.gz',
    bytes: gzipSync('-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost\n'),
    fix: /mysql --batch -e 'SELECT \* FROM users' DATABASE > users\.tsv.*--escape backslash --null NULL/s,
  },
  {
    by: 'mariadb-dump',
    name: 'users.sql',
    bytes: Buffer.from('/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n'),
    fix: /mysql --batch/,
  },
  { by: 'zip', name: 'users.zip', bytes: beginning('PK\u0003\u0004'), fix: /unzip users\.zip/ },
  { by: 'Excel, .xlsx', name: 'users.xlsx', bytes: beginning('PK\u0003\u0004'), fix: /“CSV UTF-8”/ },
  { by: 'Excel, .xls', name: 'users.xls', bytes: beginning(0xd0, 0xcf, 0x11, 0xe0), fix: /“CSV UTF-8”/ },
  {
    by: 'bzip2',
    name: 'users.sql.bz2',
    bytes: beginning('BZh9'),
    fix: /bunzip2 -k users\.sql\.bz2\nand import users\.sql\./,
  },
  {
    by: 'xz',
    name: 'users.csv.xz',
    bytes: beginning(0xfd, '7zXZ\0'),
    fix: /unxz -k users\.csv\.xz\nand import users\.csv\./,
  },
  {
    by: 'zstd',
    name: 'users.sql.zst',
    bytes: zstdCompressSync(plainDump),
    fix: /zstd -d users\.sql\.zst\nand import users\.sql\./,
  },
  { by: '7-Zip', name: 'users.7z', bytes: beginning('7z', 0xbc, 0xaf, 0x27, 0x1c), fix: /7z x users\.7z/ },
  {
    by: 'bzip2, of a file with a hard name',
    name: "Ann's users.csv.bz2",
    bytes: beginning('BZh9'),
    options: { source: 'users' },
    fix: /bunzip2 -k 'Ann'\\''s users\.csv\.bz2'\nand import Ann's users\.csv\./,
  },
  { by: 'tar', name: 'users.tar', bytes: tar(), fix: /tar -xf users\.tar/ },
  { by: 'tar and gzip', name: 'users.tgz', bytes: gzipSync(tar()), fix: /tar -xf users\.tgz/ },
  { by: 'gzip, twice', name: 'users.sql.gz', bytes: gzipSync(gzipSync(plainDump)), fix: /gunzip -k users\.sql\.gz/ },
  {
    by: 'gzip, cut off',
    name: 'users.sql.gz',
    bytes: gzipSync(plainDump).subarray(0, -20),
    fix: /gzip -t users\.sql\.gz/,
  },
  {
    by: 'MongoDB, mongoexport --jsonArray',
    name: 'users.json',
    bytes: Buffer.from('[{"id":1,"email":"ann@example.com","username":"ann"}]\n'),
    fix: /jq -r .*@csv' users\.json > users\.csv\nand import users\.csv/,
  },
  {
    by: 'UTF-32',
    name: 'users.csv',
    bytes: Buffer.from('\ufeff\0i\0d\0,\0', 'utf16le'),
    fix: /iconv -f UTF-32 -t UTF-8/,
  },
]
