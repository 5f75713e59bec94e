/** The rows that clients of the simulation write for a session: a noun's, or the ones below if no noun brings them. */
import { globSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { BanyanError } from '../../src/core/errors.ts'
import type { Session } from '../../src/sessions/sessions.ts'
import type { KeptAnswer, RetryKey } from '../../src/sharding/idempotency.ts'
import type { Tiers } from '../../src/web/context.ts'

type RowTiers = Pick<Tiers, 'shards' | 'sessions' | 'clock' | 'ids' | 'idempotency' | 'cache'>

/** Rows of the table `posts`, which is in every shard whether there is such a noun or not: id, text, and a version that edits raise. */
export interface ClientRows {
  create(tiers: RowTiers, session: Session, text: string, retry: RetryKey | null): Promise<{ id: string }>
  edit(tiers: RowTiers, session: Session, id: string, text: string): Promise<unknown>
  remove(tiers: RowTiers, session: Session, id: string): Promise<void>
  find(tiers: RowTiers, id: string): Promise<{ text: string } | null>
}

const plainRows: ClientRows = {
  async create({ sessions, ids, clock, idempotency }, { id: sessionId, userId }, text, retry) {
    const database = sessions.database({ id: sessionId, userId }, { operation: 'rows.create' })
    const id = ids.ownedId(userId)
    const insert = database
      .prepare('INSERT INTO posts (id, author_id, text, created_at, edited_at, version) VALUES (?, ?, ?, ?, NULL, 1)')
      .bind(id, userId, text, clock.now())
    if (!retry) {
      await database.batch([insert])
      return { id }
    }
    const keyId = idempotency.ownedId(userId, retry)
    const kept: KeptAnswer = { userId, attemptId: '', status: 201, answer: { id } }
    try {
      await database.batch([...idempotency.statements(database, keyId, retry, kept), insert])
      return { id }
    } catch (error) {
      if (!idempotency.isUsed(error)) throw error
      const first = await idempotency.find(keyId, retry)
      if (!first) throw new BanyanError('CONFLICT', 'The key has expired.', { cause: error })
      return first.answer as { id: string }
    }
  },
  async edit({ sessions, clock }, session, id, text) {
    const { meta } = await sessions
      .database(session, { operation: 'rows.edit' })
      .prepare('UPDATE posts SET text = ?, edited_at = ?, version = version + 1 WHERE id = ? AND author_id = ?')
      .bind(text, clock.now(), id, session.userId)
      .run()
    refuseNothing(meta.changes)
  },
  async remove({ sessions }, session, id) {
    const { meta } = await sessions
      .database(session, { operation: 'rows.remove' })
      .prepare('DELETE FROM posts WHERE id = ? AND author_id = ?')
      .bind(id, session.userId)
      .run()
    refuseNothing(meta.changes)
  },
  find({ shards }, id) {
    const database = shards.of(id, { operation: 'rows.find' })
    return database.prepare('SELECT text FROM posts WHERE id = ?').bind(id).first<{ text: string }>()
  },
}

function refuseNothing(changes: number): void {
  if (changes === 0) throw new BanyanError('NOT_FOUND', 'There is no such row.')
}

const [file] = globSync('*/rows.ts', { cwd: import.meta.dirname })

export const clientRows: ClientRows = file
  ? ((await import(pathToFileURL(path.join(import.meta.dirname, file)).href)) as { rows: ClientRows }).rows
  : plainRows
