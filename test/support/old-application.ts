/**
 * A dump of an application with one database, as `wrangler d1 export` and `sqlite3 .dump` write it. The same count
 * gives the same dump.
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'

const FIRST_MS = Date.UTC(2019, 0, 1)
const STEP_MS = 1_001_000 // whole seconds

export interface OldUser {
  id: number
  email: string
  username: string
  name: string
  passwordHash: string | null
  createdAt: number
}

/**
 * The n-th user, from 1. Some names are difficult: quotes, line breaks, emoji. Every third user has a hash that Banyan
 * can use.
 */
export function oldUser(n: number): OldUser {
  const digest = createHash('sha256').update(`old user ${n}`).digest()
  const salt = digest.subarray(0, 16).toString('base64').replace(/=+$/, '')
  const hash = digest.toString('base64').replace(/=+$/, '')
  const names = [`Person ${n}`, `O'Brien ${n}`, `Zoë 🌳 "${n}"`, `Two\nlines; ${n}`]
  return {
    id: n,
    email: `Person.${n}@Old.example.com`,
    username: `person_${n}`,
    name: names[n % names.length]!,
    passwordHash: n % 3 === 0 ? `$scrypt$ln=14,r=8,p=5$${salt}$${hash}` : n % 3 === 1 ? `$2b$12$${hash}` : null,
    createdAt: FIRST_MS + n * STEP_MS,
  }
}

const text = (value: string | null): string => {
  if (value === null) return 'NULL'
  const quoted = `'${value.replaceAll("'", "''")}'`
  return value.includes('\n') ? `replace(${quoted.replaceAll('\n', '\\n')},'\\n',char(10))` : quoted
}

const HEAD = `PRAGMA defer_foreign_keys=TRUE;
CREATE TABLE "d1_migrations" (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO "d1_migrations" ("id","name") VALUES(1,'0001_users.sql');
CREATE TABLE users (
  id INTEGER PRIMARY KEY,
  email TEXT NOT NULL UNIQUE, -- lower case; mostly
  username TEXT NOT NULL,
  name TEXT,
  password_hash TEXT,
  created_at INTEGER NOT NULL DEFAULT (unixepoch())
);
CREATE TRIGGER users_log AFTER INSERT ON users BEGIN
  INSERT INTO audit (user_id) VALUES (NEW.id);
END;
`
const TAIL = `CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), body TEXT);
INSERT INTO "posts" VALUES(1,1,'INSERT INTO users VALUES (0);');
CREATE INDEX users_by_name ON users (username);
`

/** Writes the dump of `count` users, and of `more` (SQL). */
export async function writeDump(file: string, count: number, more = ''): Promise<void> {
  const stream = createWriteStream(file)
  stream.write(HEAD)
  for (let n = 1; n <= count; n++) {
    const user = oldUser(n)
    const values = [
      n,
      text(user.email),
      text(user.username),
      text(user.name),
      text(user.passwordHash),
      user.createdAt / 1_000,
    ]
    if (!stream.write(`INSERT INTO "users" VALUES(${values.join(',')});\n`)) await once(stream, 'drain')
  }
  stream.end(more + TAIL)
  await once(stream, 'finish')
}
