import { and, asc, gte, lt } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/d1'
import { type Context, Hono } from 'hono'
import { bearerAuth } from 'hono/bearer-auth'
import { HTTPException } from 'hono/http-exception'
import { timingSafeEqual } from 'hono/utils/buffer'
import { systemClock } from '../../src/core/clock.ts'
import { BanyanError } from '../../src/core/errors.ts'
import { createIdSource, isUserId } from '../../src/core/ids.ts'
import { consoleLog } from '../../src/core/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { EngineDirectory } from '../../src/objects/directory-object.ts'
import { type Engine, perIsolate } from '../../src/objects/engine.ts'
import { EngineMover } from '../../src/objects/mover-object.ts'
import { wakeOpenMoves } from '../../src/objects/movers.ts'
import { engineIsolate, type OpenedShards, openShards } from '../../src/objects/open-shards.ts'
import { type EngineVariables, readEngineSettings } from '../../src/objects/settings.ts'
import { parseRanges } from '../../src/resharding/record.ts'
import { boundShards } from '../../src/sharding/bound-shards.ts'
import journal from './migrations/meta/_journal.json'
import { notes } from './schema.ts'

interface Env extends EngineVariables {
  DIRECTORY: DurableObjectNamespace
  MOVER: DurableObjectNamespace
  OPERATOR_TOKEN?: string
}

// ── the engine ──────────────────────────────────────────────────────────────────────────────────

const engineOf = (env: Env): Engine => ({
  directory: env.DIRECTORY,
  mover: env.MOVER,
  shards: boundShards(env),
  newestMigration: `${journal.entries.at(-1)!.tag}.sql`,
  ...readEngineSettings(env),
})

export class DirectoryObject extends EngineDirectory {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, engineOf(env))
  }
}

export class MoverObject extends EngineMover {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, engineOf(env))
  }
}

const isolateOf = perIsolate((env: Env) => ({
  engine: engineIsolate(engineOf(env)),
  ids: createIdSource(systemClock, systemRandom),
}))

// ── the application ─────────────────────────────────────────────────────────────────────────────

const app = new Hono<{ Bindings: Env; Variables: Pick<OpenedShards, 'shards' | 'directory'> }>()

app.use(async (c, next) => {
  const waitUntil = (promise: Promise<unknown>) => c.executionCtx.waitUntil(promise)
  const opened = openShards(isolateOf(c.env).engine, { waitUntil })
  c.set('shards', opened.shards)
  c.set('directory', opened.directory)
  await next()
  waitUntil(opened.refreshMap())
})

app.onError((error, c) => {
  if (error instanceof BanyanError) return c.json({ code: error.code, detail: error.message }, error.status)
  if (error instanceof HTTPException) return error.getResponse()
  console.error(error)
  return c.json({ code: 'INTERNAL' }, 500)
})

app.post('/notebooks', (c) => c.json({ id: isolateOf(c.env).ids.userId() }, 201))

app.post('/notebooks/:notebook/notes', async (c) => {
  const { ids } = isolateOf(c.env)
  const notebook = notebookOf(c.req.param('notebook'))
  const { text } = await c.req.json<{ text: string }>()
  const note = { id: `${notebook}.${ids.plain()}`, text: String(text), createdAt: systemClock.now() }
  await drizzle(c.get('shards').of(notebook)).insert(notes).values(note)
  return c.json({ note }, 201)
})

app.get('/notebooks/:notebook/notes', async (c) => {
  const notebook = notebookOf(c.req.param('notebook'))
  const items = await drizzle(c.get('shards').of(notebook))
    .select()
    .from(notes)
    .where(and(gte(notes.id, `${notebook}.`), lt(notes.id, `${notebook}/`)))
    .orderBy(asc(notes.id))
  return c.json({ items })
})

/** An id contains its own slot. A note with another slot would be looked up in the wrong shard. */
function notebookOf(id: string): string {
  if (!isUserId(id)) throw new BanyanError('NOT_FOUND', `There is no notebook "${id}".`)
  return id
}

// ── operators ───────────────────────────────────────────────────────────────────────────────────

const verifyToken = (token: string, c: Context) => timingSafeEqual(token, c.env.OPERATOR_TOKEN ?? '')
app.use('/operator/*', bearerAuth({ verifyToken }))

app.post('/operator/shards', async (c) => {
  const { binding } = await c.req.json<{ binding: string }>()
  return c.json(await c.get('directory').joinShard(binding), 201)
})

app.post('/operator/moves', async (c) => {
  const { slots, target } = await c.req.json<{ slots: string; target: string }>()
  const ranges = parseRanges(slots)
  if (!ranges) throw new BanyanError('INVALID', 'Slots are four hex digits or ranges of them: 0000-7fff.')
  return c.json(await c.get('directory').planMoves({ keyspace: 'users', ranges, target }), 202)
})

app.get('/operator/moves/:id', async (c) => {
  const move = await c.get('directory').findMove(c.req.param('id'))
  if (!move) throw new BanyanError('NOT_FOUND', 'There is no such move.')
  return c.json({ move })
})

export default {
  fetch: app.fetch,
  /** Every minute, because a wake-up of a mover may be lost. */
  async scheduled({ scheduledTime }, env) {
    const turn = Math.floor(scheduledTime / 60_000)
    await wakeOpenMoves(isolateOf(env).engine, consoleLog({ source: 'cron' }), turn)
  },
} satisfies ExportedHandler<Env>
