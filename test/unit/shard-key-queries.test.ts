import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { migratedDatabase } from '../../scripts/shard-schema.ts'
import { root } from '../../src/cli/shell/root.ts'

const PAGE = 'docs/building/choosing-a-shard-key.md'
const queries = [...readFileSync(path.join(root, PAGE), 'utf8').matchAll(/^ *```sql\n(.*?)^ *```/gms)].map(
  ([, sql]) => sql!,
)

const DAY_MS = 86_400_000

/** A shard with three posts of two authors in slot 9f3c, and four older posts of another author in slot 9f3d. */
function shardWithPosts() {
  const database = migratedDatabase()
  const slot = database.prepare("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', ?, 'active', 1)")
  for (const name of ['9f3c', '9f3d']) slot.run(name)
  const post = database.prepare("INSERT INTO posts (id, author_id, text, created_at, version) VALUES (?, ?, '', ?, 1)")
  const now = Date.now()
  post.run('9f3c-1', '9f3c-author', now)
  post.run('9f3c-2', '9f3c-author', now)
  post.run('9f3c-3', '9f3c-other', now - DAY_MS)
  for (const n of [1, 2, 3, 4]) post.run(`9f3d-${n}`, '9f3d-author', now - DAY_MS)
  return database
}

test(`${PAGE} has three queries: slots by rows, slots by new rows, owners of a slot`, () => {
  const database = shardWithPosts()
  const answers = queries.map((sql) =>
    database
      .prepare(sql)
      .all()
      .map((row) => Object.values(row)),
  )
  expect(answers).toEqual([
    [
      ['9f3d', 4],
      ['9f3c', 3],
    ],
    [['9f3c', 2]],
    [
      ['9f3c-author', 2],
      ['9f3c-other', 1],
    ],
  ])
})
