import { appendFileSync } from 'node:fs'
import { messageOf } from '../../core/errors.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { MAP_COPY_MS } from '../moves/map-copy.ts'
import { isOver } from '../moves/move-text.ts'
import { movePages } from '../moves/requests.ts'
import { bookmarkAt, restoreTo } from '../platform/time-travel.ts'
import { listShards, shardAt } from '../shards/requests.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { counted } from '../shell/table.ts'
import { isPlaceholder, readConfig } from '../wrangler/config.ts'
import { type ClaimDifference, claimDifferences } from './claim-differences.ts'
import { giveUp, goOn, type Note, NoteFile, type Reconciled, standing, type Travelling } from './note.ts'
import { type ClaimHolders, type RestoreContribution, type Restored, restoredBy } from './noun.ts'
import { endedJson, endedText, endRevived, noteBefore } from './revived.ts'
import { differenceFrom, ownershipOf, reconcile } from './shard-ownership.ts'

/** Time Travel covers 30 days on the paid plan, and 7 on the free plan. */
const DAYS_MAX = 30
const DAY_MS = 86_400_000

export interface ShardOptions {
  shard: string
  /** The operators' API. */
  connection: Pick<Connection, 'get' | 'patch'>
  /** The file with the restore's position, so that an interrupted run can be resumed. */
  noteFile: string
  nouns: RestoreContribution[]
}

export interface RestoreOptions extends ShardOptions {
  /** RFC 3339. */
  to: string
  /** Milliseconds since 1970. */
  now: number
}

/** The context of a restore or a comparison. */
interface Restoring {
  shard: string
  connection: ShardOptions['connection']
  noteFile: NoteFile
  restored: Restored
}

function open({ shard, connection, noteFile, nouns }: ShardOptions): Restoring {
  const restored = restoredBy(nouns)
  return { shard, connection, restored, noteFile: new NoteFile(noteFile, restored.credentials?.names.rows) }
}

/**
 * Restores one shard to a time. Takes it out of service, runs time travel, reconciles it, and returns it to service.
 * Later writes are lost. If its slots were different at that time, it refuses and brings everything back, because the
 * shard would take writes for slots of another shard, or lack slots that it received. Throws UserError.
 */
export async function restore(deployment: Deployment, options: RestoreOptions): Promise<Output> {
  const { say } = deployment
  const restoring = open(options)
  const { connection, shard, noteFile } = restoring
  const to = readTime(options.to, options.now)
  const found = noteFile.read()
  if (found && found.stage !== 'taken-out' && found.to !== to) throw halfDone(found)
  const entry = await findShard(deployment, connection, shard)
  if (found?.stage === 'travelling' && entry.state !== 'restoring') throw servesAlready(found, entry.state)
  const outOfService = async (): Promise<Travelling> =>
    found && found.stage !== 'taken-out'
      ? { ...found, stage: 'travelling' }
      : takeOut(deployment, restoring, to, { ...entry, isOurs: found !== null })
  return sayingWhereItStands(deployment, noteFile, async () => {
    if (found?.stage === 'reconciled' && entry.state !== 'restoring') {
      noteFile.forget()
      say(`✓ a previous run completed the restore, so nothing was restored now; ${shard} keeps its writes since`)
      return compared(deployment, restoring, found)
    }
    // A shard that an earlier version reconciled still has revived sessions.
    const isEnded = found?.stage === 'reconciled' && found.ended !== undefined
    const done = isEnded ? found : await travel(deployment, restoring, await outOfService())
    await backToService(connection, shard, noteFile)
    return compared(deployment, restoring, done)
  })
}

/** Abandons a restore: brings back the shard's previous state, and returns it to service. Throws UserError. */
export async function abandon(deployment: Deployment, options: ShardOptions): Promise<Output> {
  const restoring = open(options)
  const { connection, shard, noteFile } = restoring
  const note = noteFile.read()
  if (!note)
    throw new UserError(
      `There is no interrupted restore of ${shard} on this machine.`,
      'Abandon it on the machine where it was started, which keeps its position in .wrangler/deploy.',
    )
  const { state } = await findShard(deployment, connection, shard)
  return sayingWhereItStands(deployment, noteFile, async () => {
    if (state !== 'restoring')
      return { json: { shard, state }, text: await leaveAsItIs(deployment, restoring, note, state) }
    if (note.stage !== 'taken-out') await takeBack(deployment, noteFile, note)
    await backToService(connection, shard, noteFile)
    return { json: { shard, state: 'serving' }, text: `${shard} is in service again, as it was before the restore.` }
  })
}

async function sayingWhereItStands(
  deployment: Deployment,
  noteFile: NoteFile,
  act: () => Promise<Output>,
): Promise<Output> {
  try {
    return await act()
  } catch (error) {
    const note = noteFile.read()
    if (note) deployment.say(standing(note))
    throw error
  }
}

/**
 * Takes the shard out of service, waits until no router still writes with the previous map, and then notes its state.
 * It reads the state again after an interruption, because the shard may have served and moved slots since.
 */
async function takeOut(
  deployment: Deployment,
  { connection, shard, noteFile, restored }: Restoring,
  to: string,
  { databaseId, state, isOurs }: FoundShard & { isOurs: boolean },
): Promise<Travelling> {
  const { platform } = deployment
  if (state !== 'serving' && !(state === 'restoring' && isOurs)) throw notServing(shard, state)
  await refuseOpenMoves(connection, shard)
  // Fails here if the state can't be read, before any user gets a 503.
  await ownershipOf(platform, databaseId)
  const place = { databaseId, shard, to }
  noteFile.keep({ ...place, stage: 'taken-out' })
  await connection.patch(shardAt(shard), { state: 'restoring' })
  deployment.say(`✓ ${shard} is out of service, and its users get 503. Waiting until no router has the previous map.`)
  await deployment.sleep(readConfig(deployment.readConfigText()).leaseMs + MAP_COPY_MS)
  try {
    // Checked again, because a move may have been planned between the first check and the change of state.
    await refuseOpenMoves(connection, shard)
  } catch (error) {
    await backToService(connection, shard, noteFile)
    throw error
  }
  const ownership = await ownershipOf(platform, databaseId)
  const { credentials } = restored
  const noted = credentials && (await noteBefore(deployment, databaseId, credentials, noteFile.before))
  if (credentials && noted) deployment.say(`✓ noted: ${credentials.texts.noted(noted.count)}`)
  const wayBack = await bookmarkAt(platform, databaseId)
  return noteFile.keep({ ...place, ...ownership, wayBack, ...(noted ? { noted } : {}), stage: 'travelling' as const })
}

/** Runs the time travel and reconciles the shard. Idempotent, because there are no writes meanwhile. */
async function travel(deployment: Deployment, restoring: Restoring, before: Travelling): Promise<Reconciled> {
  const { platform, say } = deployment
  const { connection, shard, noteFile, restored } = restoring
  const { databaseId, to } = before
  await restoreTo(platform, databaseId, await bookmarkAt(platform, databaseId, to))
  say(`✓ restored to ${to}`)
  const difference = await differenceFrom(platform, databaseId, before)
  if (difference) {
    await takeBack(deployment, noteFile, before)
    await backToService(connection, shard, noteFile)
    throw notThen(before, difference)
  }
  const migrated = await reconcile(platform, databaseId, before)
  say(`✓ reconciled: slots match the map, the mover’s step continues, ${counted(migrated, 'migration')} applied again`)
  const ended = await endRevived(deployment, restored, noteFile, before)
  say(`✓ ended: ${endedText(ended, restored, noteFile.listed)}`)
  return noteFile.keep({ ...before, stage: 'reconciled' as const, migrated, ended })
}

/** Brings back the previous state. Only the shard's state in the map then remains to be changed. */
async function takeBack({ platform }: Deployment, noteFile: NoteFile, note: Travelling | Reconciled): Promise<void> {
  const { shard, databaseId, to, wayBack } = note
  await restoreTo(platform, databaseId, wayBack)
  noteFile.keep({ shard, databaseId, to, stage: 'taken-out' })
}

/** Forgets a restore of a shard that is no longer out of service. Writes since then stay. */
async function leaveAsItIs(
  deployment: Deployment,
  { connection, shard, noteFile, restored }: Restoring,
  note: Note,
  state: string,
): Promise<string> {
  const { platform } = deployment
  const ended: string[] = []
  if (note.stage === 'travelling') {
    await refuseOpenMoves(connection, shard)
    if (await differenceFrom(platform, note.databaseId, note)) throw otherNow(note, state, noteFile.file)
    await reconcile(platform, note.databaseId, note)
    // The shard may already be restored, so that sessions that were ended are valid again.
    ended.push(endedText(await endRevived(deployment, restored, noteFile, note), restored, noteFile.listed))
  }
  noteFile.forget()
  const what: Record<Note['stage'], string> = {
    'taken-out': 'Its data was not restored.',
    travelling: 'Its data stays as it is, restored or not.',
    reconciled: `The restore was complete: it was restored to ${note.to}, and keeps the writes since it returned to service.`,
  }
  const wayBack = note.stage === 'taken-out' ? [] : [wayBackText(note)]
  return [`${shard} is ${state}. ${what[note.stage]}`, ...ended, ...wayBack].join('\n')
}

/** Only reads. The shard is already in service, so the restore is complete even if the comparison fails. */
async function compared(deployment: Deployment, restoring: Restoring, done: Reconciled): Promise<Output> {
  const { shard, to, wayBack, migrated, databaseId, ended } = done
  const { restored, noteFile } = restoring
  const served = `${shard} is in service again, restored to ${to}. Its later writes are lost.`
  const hasClaims = restored.holders.length > 0
  const what = comparedRows(restored)
  deployment.say(
    [
      `✓ ${served}`,
      wayBackText(done),
      ...(hasClaims ? [`Comparing its ${what} with all shards. Press Ctrl-C to skip the comparison.`] : []),
    ].join('\n'),
  )
  const comparison = await compareClaims(deployment, restoring, databaseId).catch((error: unknown) => ({
    json: { ...Object.fromEntries(restored.holders.map(({ names }) => [names.lacking, null])), lackingClaims: null },
    text: `Its ${what} were not compared: ${messageOf(error)}\nTo compare them: npm run banyan -- restore ${shard} --compare`,
  }))
  const users = ended ? [endedText(ended, restored, noteFile.listed)] : []
  const text = [served, ...users, ...(hasClaims ? [comparison.text] : []), wayBackText(done)].join('\n')
  const json = { shard, to, wayBack, migrated, ...(ended ? endedJson(ended, restored, noteFile.listed) : {}) }
  return { json: { ...json, ...comparison.json }, text }
}

/** Lists the inconsistencies in a file, one per line. Throws UserError. */
export async function compare(deployment: Deployment, options: ShardOptions): Promise<Output> {
  const { databaseId } = await findShard(deployment, options.connection, options.shard)
  return compareClaims(deployment, open(options), databaseId)
}

/** The compared rows, as text. */
const comparedRows = ({ holders }: Restored): string =>
  ['claims', ...holders.map(({ names }) => names.rows)].join(' and ')

async function compareClaims(
  deployment: Deployment,
  { connection, shard, noteFile, restored: { holders } }: Restoring,
  restoredId: string,
): Promise<{ json: object; text: string }> {
  if (holders.length === 0) return { json: {}, text: 'No rows of this application hold claims.' }
  const { platform, sleep, say } = deployment
  const databaseIds = readConfig(deployment.readConfigText()).shards.map(({ databaseId }) => databaseId)
  const onShard = (done: number, of: number) => say(`compared with ${done} of ${counted(of, 'shard')}`)
  const file = noteFile.claims
  replaceFile(file, '', 0o600)
  const { epoch } = await listShards(connection)
  const found = new Map(holders.map((some) => [some, { owner: 0, claim: 0 }]))
  for await (const page of claimDifferences({ platform, holders, databaseIds, restoredId, sleep, onShard })) {
    for (const { holders: some, lacks } of page) {
      const counts = found.get(some)
      if (counts) counts[lacks]++
    }
    appendFileSync(file, page.map(lineOf).join(''))
  }
  const hasMoved = (await listShards(connection)).epoch !== epoch
  const lackingClaims = [...found.values()].reduce((sum, { claim }) => sum + claim, 0)
  const orphans = [...found].map(([{ names }, { owner }]) => [names.lacking, owner])
  const json = { ...Object.fromEntries(orphans), lackingClaims, file }
  return { json, text: claimsText(shard, found, file, hasMoved) }
}

const lineOf = ({ lacks, key, kind, ownerId, holders: { names } }: ClaimDifference): string =>
  `${JSON.stringify({ lacks: lacks === 'owner' ? names.lacks : lacks, key, kind, [names.id]: ownerId })}\n`

const wayBackText = ({ databaseId, wayBack }: Travelling | Reconciled): string =>
  `To undo the restore before any new write: npx wrangler d1 time-travel restore ${databaseId} --bookmark=${wayBack}`

function claimsText(
  shard: string,
  found: Map<ClaimHolders, Record<ClaimDifference['lacks'], number>>,
  file: string,
  hasMoved: boolean,
): string {
  const lines = [...found].flatMap(([{ texts }, { owner, claim }]) =>
    owner + claim === 0
      ? [texts.whole]
      : [texts.orphans(counted(owner, 'claim')), texts.lacking(counted(claim, 'claim'))],
  )
  const isWhole = [...found.values()].every(({ owner, claim }) => owner + claim === 0)
  const moved = `The map changed during the comparison, so compare again: npm run banyan -- restore ${shard} --compare`
  return [
    ...lines,
    ...(isWhole ? [] : [`They are listed in ${file}. The command changed none of them.`]),
    ...(hasMoved ? [moved] : []),
  ].join('\n')
}

function readTime(text: string, now: number): string {
  const at = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at))
    throw new UserError(`--to is "${text}", which is not a time.`, 'Write it like 2026-11-24T10:30:00Z.')
  if (at >= now) throw new UserError(`${text} is in the future.`, 'Pass a time in the past; Z means UTC.')
  if (now - at > DAYS_MAX * DAY_MS)
    throw new UserError(
      `${text} is more than ${DAYS_MAX} days ago, and the platform keeps no older history.`,
      `Pass a time in the last ${DAYS_MAX} days.`,
    )
  return new Date(at).toISOString()
}

interface FoundShard {
  databaseId: string
  state: string
}

async function findShard(
  deployment: Deployment,
  connection: ShardOptions['connection'],
  shard: string,
): Promise<FoundShard> {
  const { items } = await listShards(connection)
  const entry = items.find(({ id }) => id === shard)
  if (!entry)
    throw new UserError(`The map has no shard "${shard}".`, 'To list its shards: npm run banyan -- shards list')
  const { shards } = readConfig(deployment.readConfigText())
  const bound = shards.find(({ binding }) => binding === entry.binding)
  if (!bound || isPlaceholder(bound.databaseId))
    throw new UserError(
      `The configuration has no deployed database for ${entry.binding}.`,
      'Use the configuration of this application (--config FILE). npm run deploy writes the ids into it.',
    )
  return { databaseId: bound.databaseId, state: entry.state }
}

async function refuseOpenMoves(connection: ShardOptions['connection'], shard: string): Promise<void> {
  for await (const { items } of movePages(connection)) {
    const open = items.find((move) => [move.source, move.target].includes(shard) && !isOver(move))
    if (open)
      throw new UserError(
        `Move ${open.id} (${open.state}) works at ${shard}, so a restore would make it disagree with the other shard.`,
        `Wait until the move is done, or abort or reverse it. To see its state: npm run banyan -- moves show ${open.id}`,
      )
  }
}

const notServing = (shard: string, state: string) =>
  new UserError(
    `${shard} is ${state}, but only a serving shard can be restored.`,
    state === 'restoring'
      ? 'If its restore was interrupted, resume it on the machine where it was started, which keeps its position in .wrangler/deploy.'
      : `Make it serving first: npm run banyan -- shards ${state === 'draining' ? 'drain' : 'read-only'} ${shard} --off`,
  )

const notThen = ({ shard, to }: Travelling, difference: string) =>
  new UserError(
    `${shard} can't be restored to ${to}, because ${difference}. It is as it was before this command.`,
    'Choose a time after its last move (npm run banyan -- moves list). To recover single rows from an earlier time, use npx wrangler d1 time-travel with a separate database.',
  )

const halfDone = (note: Travelling | Reconciled) =>
  new UserError(
    `A restore of ${note.shard} to ${note.to} was interrupted and is not complete.`,
    `To resume it: ${goOn(note)}\nTo abandon it: ${giveUp(note.shard)}`,
  )

const servesAlready = ({ shard, to }: Travelling, state: string) =>
  new UserError(
    `${shard} is ${state}, although its restore to ${to} is not complete, so its state was changed by other means. Nothing was done, because its writes since then would be lost.`,
    `To keep it as it is: ${giveUp(shard)}\nTo restore it anyway, run this command again after that.`,
  )

const otherNow = ({ shard }: Travelling, state: string, noteFile: string) =>
  new UserError(
    `${shard} is ${state}, and its slots differ from those it had when the restore started.`,
    `If a move has changed its slots since (npm run banyan -- moves list), the shard is correct: delete ${noteFile}. If not, it was restored to a time before a move, and accepts writes for slots of another shard: set its state to restoring (PATCH ${shardAt(shard)}), and run this command again to bring it back.`,
  )

async function backToService(connection: ShardOptions['connection'], shard: string, noteFile: NoteFile): Promise<void> {
  await connection.patch(shardAt(shard), { state: 'serving' })
  noteFile.forget()
}
