import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ClaimDifferences, compareClaims } from './claim-differences.ts'
import { type Connection, connect } from './client.ts'
import type { Command, Output } from './command.ts'
import { isPlaceholder, readConfig } from './deploy-config.ts'
import { addressOf, type Deploying, openDeploying } from './deploying.ts'
import { UserError } from './errors.ts'
import type { Move } from './move-text.ts'
import type { OptionValues } from './options.ts'
import { appliedMigrations, applyMigration, readRows, runBatch } from './platform/database.ts'
import { bookmarkAt, restoreTo } from './platform/time-travel.ts'
import { replaceFile } from './replace-file.ts'
import type { MapShard } from './rollback.ts'
import { readMigrations } from './shard-migrations.ts'
import { counted } from './table.ts'

const root = path.resolve(import.meta.dirname, '../..')
/** Time Travel goes back 30 days on the paid plan, 7 on the free one. */
const DAYS_MAX = 30
const DAY_MS = 86_400_000
/** A lease may begin with a data centre's copy of the map, which is up to 10 s old; and a second for clocks. */
const MAP_COPY_MS = 11_000
const OVER = ['done', 'aborted', 'failed']

export interface RestoreOptions {
  shard: string
  /** RFC 3339. */
  to: string
  /** Milliseconds since 1970. */
  now: number
  /** The operators' API. */
  connection: Pick<Connection, 'get' | 'patch'>
  /** Where the place is kept, so that a run that was cut off can be gone on with. */
  noteFile: string
}

/** What a shard says of itself, past what its users wrote: who it is, which slots it has since when, the mover's step. */
interface Ownership {
  identity: string
  slots: string
  step: number
}

/** Written before the first change: whose place this is. */
interface TakenOut {
  shard: string
  databaseId: string
  to: string
  wayBack: null
}

/** Written before the time travel: what was, read while nobody writes and no move can come. `wayBack` is a bookmark. */
interface Travelling extends Omit<TakenOut, 'wayBack'>, Ownership {
  wayBack: string
}

type Note = TakenOut | Travelling

/**
 * Takes one shard back to a moment: out of the map's service, time travel, reconciled, and into service again. What was
 * written there since is gone. Refused, with everything as it was, where its slots weren't the same ones then: it would
 * take writes for slots that another shard has, or lack slots that it got. Throws UserError.
 */
export async function restore(deploying: Deploying, options: RestoreOptions): Promise<Output> {
  const { platform, say } = deploying
  const { connection, shard, noteFile } = options
  const to = readTime(options.to, options.now)
  const note = readNote(noteFile)
  if (note && (note.shard !== shard || note.to !== to)) throw halfDone(note)
  // Once it has travelled, the application may not be able to read it: the list and its state are not asked for again.
  const before = note && note.wayBack !== null ? note : await takeOut(deploying, options, to, note)
  const { databaseId, wayBack } = before

  await restoreTo(platform, databaseId, await bookmarkAt(platform, databaseId, to))
  say(`✓ it is as it was at ${to}`)
  const difference = await differenceFrom(deploying, databaseId, before)
  if (difference) {
    await restoreTo(platform, databaseId, wayBack)
    await backToService(connection, shard, noteFile)
    throw notThen(shard, to, difference)
  }
  const migrated = await reconcile(deploying, databaseId, before)
  say(`✓ reconciled: its slots are those of the map, the mover’s step goes on, ${migrated} migrations applied again`)
  const claims = await compareClaims(platform, databaseIdsOf(deploying), databaseId)
  const listFile = noteFile.replace(/\.json$/, '.claims.json')
  writeFileSync(listFile, JSON.stringify(claims, null, 2), { mode: 0o600 })
  await backToService(connection, shard, noteFile)
  const text = [
    `${shard} serves again, as it was at ${to}. What was written there since is gone.`,
    claimsText(claims, listFile),
    `The way back, while nobody has written: npx wrangler d1 time-travel restore ${databaseId} --bookmark=${wayBack}`,
  ].join('\n')
  return { json: { shard, to, wayBack, migrated, ...claims }, text }
}

/**
 * Takes the shard out of service, waits until no router writes there by the map before, and notes what is then: where a
 * run before was cut off here, the shard may have served since, and a move may have touched it.
 */
async function takeOut(
  deploying: Deploying,
  options: RestoreOptions,
  to: string,
  found: TakenOut | null,
): Promise<Travelling> {
  const { connection, shard, noteFile } = options
  const { platform } = deploying
  const { databaseId, state } = await findShard(deploying, connection, shard)
  if (!found && state !== 'serving')
    throw new UserError(
      `${shard} is ${state}.`,
      'Only a serving shard is restored. Its state: npm run banyan -- shards list',
    )
  await refuseOpenMoves(connection, shard)
  // Read for nothing: where it can't be, that is known before anybody gets a 503.
  await ownershipOf(deploying, databaseId)
  const place = { databaseId, shard, to }
  keepNote(noteFile, { ...place, wayBack: null })
  await connection.patch(pathOf(shard), { state: 'restoring' })
  deploying.say(`✓ ${shard} is out of service: its users get 503. Waiting until no router has the map before.`)
  await deploying.sleep(readConfig(deploying.readConfigText()).leaseMs + MAP_COPY_MS)
  try {
    // Looked at again: a move may have been planned between the look before and the state.
    await refuseOpenMoves(connection, shard)
  } catch (error) {
    await backToService(connection, shard, noteFile)
    throw error
  }
  const ownership = await ownershipOf(deploying, databaseId)
  return keepNote(noteFile, { ...place, ...ownership, wayBack: await bookmarkAt(platform, databaseId) })
}

function claimsText({ orphans, unclaimed }: ClaimDifferences, listFile: string): string {
  if (orphans.length + unclaimed.length === 0) return 'Every claim has its account, and every account its claims.'
  return [
    `${counted(orphans.length, 'claim')} of accounts that are gone: nobody can have those addresses and handles.`,
    `${counted(unclaimed.length, 'claim')} that accounts lack: another may take the same address or handle.`,
    `They are listed in ${listFile}; nothing was done about them.`,
  ].join('\n')
}

const databaseIdsOf = (deploying: Deploying): string[] =>
  readConfig(deploying.readConfigText()).shards.map(({ databaseId }) => databaseId)

const pathOf = (shard: string): string => `/operator/v1/shards/${encodeURIComponent(shard)}`

function readTime(text: string, now: number): string {
  const at = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at)) throw new UserError(`"${text}" is no time.`, 'Write it like 2026-11-24T10:30:00Z.')
  if (at >= now) throw new UserError(`${text} hasn't been yet.`, 'Give a time in the past; Z is UTC.')
  if (now - at > DAYS_MAX * DAY_MS)
    throw new UserError(`${text} is more than ${DAYS_MAX} days ago.`, 'The platform keeps no history before that.')
  return new Date(at).toISOString()
}

async function findShard(deploying: Deploying, connection: RestoreOptions['connection'], shard: string) {
  const { items } = await connection.get<{ items: MapShard[] }>('/operator/v1/shards')
  const entry = items.find(({ id }) => id === shard)
  if (!entry) throw new UserError(`The map has no shard "${shard}".`, 'Its shards: npm run banyan -- shards list')
  const { shards } = readConfig(deploying.readConfigText())
  const bound = shards.find(({ binding }) => binding === entry.binding)
  if (!bound || isPlaceholder(bound.databaseId))
    throw new UserError(`The configuration has no database for ${entry.binding}.`, 'npm run deploy writes it there.')
  return { databaseId: bound.databaseId, state: entry.state }
}

async function refuseOpenMoves(connection: RestoreOptions['connection'], shard: string): Promise<void> {
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: { items: Move[]; next: string | null } = await connection.get(
      `/operator/v1/moves?limit=100&cursor=${encodeURIComponent(cursor)}`,
    )
    const open = page.items.find(
      ({ source, target, state }) => [source, target].includes(shard) && !OVER.includes(state),
    )
    if (open)
      throw new UserError(
        `Move ${open.id} (${open.state}) is at ${shard}: it and the other shard would no longer agree.`,
        `Wait until it is done, or take it back: npm run banyan -- moves show ${open.id}`,
      )
    cursor = page.next
  }
}

/** In rows of at most 256 slots: all of them in one value would be more than the 2 MB that a value may have. */
const SLOTS = `SELECT keyspace, state, epoch, substr(slot, 1, 2) AS part, group_concat(substr(slot, 3), '') AS slots
  FROM (SELECT * FROM slots ORDER BY keyspace, slot) GROUP BY keyspace, state, epoch, part ORDER BY keyspace, part, state, epoch`

/** Throws PlatformError where the database has no such tables: before its first migration. */
async function ownershipOf({ platform }: Deploying, databaseId: string): Promise<Ownership> {
  const [identity] = await readRows<object>(platform, databaseId, 'SELECT deployment, shard FROM shard_identity')
  const slots = await readRows<object>(platform, databaseId, SLOTS)
  const [mover] = await readRows<{ step: number }>(platform, databaseId, 'SELECT step FROM mover')
  return { identity: JSON.stringify(identity ?? null), slots: JSON.stringify(slots), step: mover!.step }
}

/** In what the shard of then differs from the one of now, as far as the map is concerned; null where it doesn't. */
async function differenceFrom(deploying: Deploying, databaseId: string, before: Ownership): Promise<string | null> {
  const [tables] = await readRows<{ n: number }>(
    deploying.platform,
    databaseId,
    "SELECT count(*) AS n FROM sqlite_master WHERE name IN ('shard_identity', 'slots', 'mover')",
  )
  if (tables!.n < 3) return 'it was not migrated yet'
  const then = await ownershipOf(deploying, databaseId)
  if (then.identity !== before.identity) return 'it did not belong to this application yet'
  // Their epochs as well: slots that left and came back would come back without what was written elsewhere.
  if (then.slots !== before.slots) return 'it had other slots: a move has touched it since'
  return null
}

const notThen = (shard: string, to: string, difference: string) =>
  new UserError(
    `At ${to} ${shard} can't be taken over: ${difference}. It is as it was before this command.`,
    'Choose a time after its last move (npm run banyan -- moves list). Single rows of an older time: npx wrangler d1 time-travel, into a database beside it.',
  )

const halfDone = ({ shard, to }: Note) =>
  new UserError(
    `A restore of ${shard} to ${to} was cut off and is not over.`,
    `End it first: npm run banyan -- restore ${shard} --to ${to}`,
  )

async function backToService(connection: RestoreOptions['connection'], shard: string, noteFile: string): Promise<void> {
  await connection.patch(pathOf(shard), { state: 'serving' })
  rmSync(noteFile)
}

/**
 * Brings what time travel took back to where it must be: the mover's step never falls, or a mover's batch that was held
 * back could apply; the schema is the one the other shards have. Returns how many migrations were applied again.
 */
async function reconcile(deploying: Deploying, databaseId: string, before: Ownership): Promise<number> {
  const { platform } = deploying
  const sql = 'UPDATE mover SET step = max(step, ?) + 1, open = 0'
  await runBatch(platform, databaseId, [{ sql, params: [before.step] }])
  const applied = await appliedMigrations(platform, databaseId)
  const missing = readMigrations().filter(({ name }) => !applied.includes(name))
  for (const migration of missing) await applyMigration(platform, databaseId, migration)
  return missing.length
}

const readNote = (file: string): Note | null =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Note) : null

function keepNote<N extends Note>(file: string, note: N): N {
  replaceFile(file, JSON.stringify(note))
  return note
}

async function run(_connect: unknown, [shard]: string[], options: OptionValues): Promise<Output> {
  if (!options.to)
    throw new UserError('To when?', `Write: npm run banyan -- restore ${shard} --to 2026-11-24T10:30:00Z`)
  const say = (line: string) => console.error(line)
  const deploying = openDeploying({ config: options.config, environment: process.env, sleep, say })
  const config = readConfig(deploying.readConfigText())
  const address = await addressOf(deploying.platform, config, options.url)
  return restore(deploying, {
    shard: shard!,
    to: options.to,
    now: performance.timeOrigin + performance.now(),
    connection: connect({ url: address, token: options.token }),
    noteFile: path.join(root, '.wrangler/deploy', `${config.name}-${shard}.restore.json`),
  })
}

export const restoreCommands: Record<string, Command> = {
  restore: { operands: ['SHARD'], options: ['config', 'to'], run },
}
