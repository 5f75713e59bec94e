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

/** Time Travel goes back 30 days on the paid plan, 7 on the free one. */
const DAYS_MAX = 30
const DAY_MS = 86_400_000

export interface ShardOptions {
  shard: string
  /** The operators' API. */
  connection: Pick<Connection, 'get' | 'patch'>
  /** Where the place is kept, so that a run that was cut off can be gone on with. */
  noteFile: string
  nouns: RestoreContribution[]
}

export interface RestoreOptions extends ShardOptions {
  /** RFC 3339. */
  to: string
  /** Milliseconds since 1970. */
  now: number
}

/** One restore, or the look after it. */
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
 * Takes one shard back to a moment: out of the map's service, time travel, reconciled, and into service again. What was
 * written there since is gone. Refused, with everything as it was, where its slots weren't the same ones then: it would
 * take writes for slots that another shard has, or lack slots that it got. Throws UserError.
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
      say(`✓ the run before has ended it, and nothing was taken back now: ${shard} has what was written since`)
      return compared(deployment, restoring, found)
    }
    // One that an older version has reconciled still has the sessions of then.
    const isEnded = found?.stage === 'reconciled' && found.ended !== undefined
    const done = isEnded ? found : await travel(deployment, restoring, await outOfService())
    await backToService(connection, shard, noteFile)
    return compared(deployment, restoring, done)
  })
}

/** Gives a restore up: the shard is as it was before, and serves. Throws UserError. */
export async function abandon(deployment: Deployment, options: ShardOptions): Promise<Output> {
  const restoring = open(options)
  const { connection, shard, noteFile } = restoring
  const note = noteFile.read()
  if (!note)
    throw new UserError(
      `No restore of ${shard} is under way here.`,
      'Its place is kept in .wrangler/deploy on the machine where it was begun: give it up there.',
    )
  const { state } = await findShard(deployment, connection, shard)
  return sayingWhereItStands(deployment, noteFile, async () => {
    if (state !== 'restoring')
      return { json: { shard, state }, text: await leaveAsItIs(deployment, restoring, note, state) }
    if (note.stage !== 'taken-out') await takeBack(deployment, noteFile, note)
    await backToService(connection, shard, noteFile)
    return { json: { shard, state: 'serving' }, text: `${shard} serves again, as it was before the restore.` }
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
 * Takes the shard out of service, waits until no router writes there by the map before, and notes what is then: where a
 * run before was cut off here, the shard may have served since, and a move may have touched it.
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
  // Read for nothing: where it can't be, that is known before anybody gets a 503.
  await ownershipOf(platform, databaseId)
  const place = { databaseId, shard, to }
  noteFile.keep({ ...place, stage: 'taken-out' })
  await connection.patch(shardAt(shard), { state: 'restoring' })
  deployment.say(`✓ ${shard} is out of service: its users get 503. Waiting until no router has the map before.`)
  await deployment.sleep(readConfig(deployment.readConfigText()).leaseMs + MAP_COPY_MS)
  try {
    // Looked at again: a move may have been planned between the look before and the state.
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

/** Repeated, it has the same end: nobody writes meanwhile. */
async function travel(deployment: Deployment, restoring: Restoring, before: Travelling): Promise<Reconciled> {
  const { platform, say } = deployment
  const { connection, shard, noteFile, restored } = restoring
  const { databaseId, to } = before
  await restoreTo(platform, databaseId, await bookmarkAt(platform, databaseId, to))
  say(`✓ it is as it was at ${to}`)
  const difference = await differenceFrom(platform, databaseId, before)
  if (difference) {
    await takeBack(deployment, noteFile, before)
    await backToService(connection, shard, noteFile)
    throw notThen(before, difference)
  }
  const migrated = await reconcile(platform, databaseId, before)
  say(`✓ reconciled: its slots are those of the map, the mover’s step goes on, ${migrated} migrations applied again`)
  const ended = await endRevived(deployment, restored, noteFile, before)
  say(`✓ ended: ${endedText(ended, restored, noteFile.listed)}`)
  return noteFile.keep({ ...before, stage: 'reconciled' as const, migrated, ended })
}

/** As it was before: from here on nothing of the restore is left but the state. */
async function takeBack({ platform }: Deployment, noteFile: NoteFile, note: Travelling | Reconciled): Promise<void> {
  const { shard, databaseId, to, wayBack } = note
  await restoreTo(platform, databaseId, wayBack)
  noteFile.keep({ shard, databaseId, to, stage: 'taken-out' })
}

/** Forgets a restore of a shard that isn't out of service any more: what was written there since stays. */
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
    // It may have been taken back already, and then sessions that were ended live again.
    ended.push(endedText(await endRevived(deployment, restored, noteFile, note), restored, noteFile.listed))
  }
  noteFile.forget()
  const what: Record<Note['stage'], string> = {
    'taken-out': 'Nothing in it was taken back.',
    travelling: 'It stays as it is, whether it was taken back already or not.',
    reconciled: `The restore was over: it is as it was at ${note.to}, with what was written since it served again.`,
  }
  const wayBack = note.stage === 'taken-out' ? [] : [wayBackText(note)]
  return [`${shard} is ${state}. ${what[note.stage]}`, ...ended, ...wayBack].join('\n')
}

/** Only looks: it serves already, so a comparison that fails, or is ended, leaves a restore as done as it is. */
async function compared(deployment: Deployment, restoring: Restoring, done: Reconciled): Promise<Output> {
  const { shard, to, wayBack, migrated, databaseId, ended } = done
  const { restored, noteFile } = restoring
  const served = `${shard} serves again, as it was at ${to}. What was written there since is gone.`
  const hasClaims = restored.holders.length > 0
  const what = comparedRows(restored)
  deployment.say(
    [
      `✓ ${served}`,
      wayBackText(done),
      ...(hasClaims ? [`Comparing its ${what} with all shards; Ctrl-C leaves that out.`] : []),
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

/** Lists what doesn't fit in a file, a line each. Throws UserError. */
export async function compare(deployment: Deployment, options: ShardOptions): Promise<Output> {
  const { databaseId } = await findShard(deployment, options.connection, options.shard)
  return compareClaims(deployment, open(options), databaseId)
}

/** What is compared, in words. */
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
  `The way back, while nobody has written: npx wrangler d1 time-travel restore ${databaseId} --bookmark=${wayBack}`

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
  const moved = `The map has changed meanwhile, so look again: npm run banyan -- restore ${shard} --compare`
  return [
    ...lines,
    ...(isWhole ? [] : [`They are listed in ${file}; nothing was done about them.`]),
    ...(hasMoved ? [moved] : []),
  ].join('\n')
}

function readTime(text: string, now: number): string {
  const at = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at)) throw new UserError(`"${text}" is no time.`, 'Write it like 2026-11-24T10:30:00Z.')
  if (at >= now) throw new UserError(`${text} hasn't been yet.`, 'Give a time in the past; Z is UTC.')
  if (now - at > DAYS_MAX * DAY_MS)
    throw new UserError(`${text} is more than ${DAYS_MAX} days ago.`, 'The platform keeps no history before that.')
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
  if (!entry) throw new UserError(`The map has no shard "${shard}".`, 'Its shards: npm run banyan -- shards list')
  const { shards } = readConfig(deployment.readConfigText())
  const bound = shards.find(({ binding }) => binding === entry.binding)
  if (!bound || isPlaceholder(bound.databaseId))
    throw new UserError(`The configuration has no database for ${entry.binding}.`, 'npm run deploy writes it there.')
  return { databaseId: bound.databaseId, state: entry.state }
}

async function refuseOpenMoves(connection: ShardOptions['connection'], shard: string): Promise<void> {
  for await (const { items } of movePages(connection)) {
    const open = items.find((move) => [move.source, move.target].includes(shard) && !isOver(move))
    if (open)
      throw new UserError(
        `Move ${open.id} (${open.state}) is at ${shard}: it and the other shard would no longer agree.`,
        `Wait until it is done, or take it back: npm run banyan -- moves show ${open.id}`,
      )
  }
}

const notServing = (shard: string, state: string) =>
  new UserError(
    `${shard} is ${state}.`,
    state === 'restoring'
      ? 'A restore of it is under way. Cut off, it is gone on with where it was begun: its place is kept there, in .wrangler/deploy.'
      : 'Only a serving shard is restored. Its state: npm run banyan -- shards list',
  )

const notThen = ({ shard, to }: Travelling, difference: string) =>
  new UserError(
    `At ${to} ${shard} can't be taken over: ${difference}. It is as it was before this command.`,
    'Choose a time after its last move (npm run banyan -- moves list). Single rows of an older time: npx wrangler d1 time-travel, into a database beside it.',
  )

const halfDone = (note: Travelling | Reconciled) =>
  new UserError(
    `A restore of ${note.shard} to ${note.to} was cut off and is not over.`,
    `End it first: ${goOn(note)}\nOr give it up: ${giveUp(note.shard)}`,
  )

const servesAlready = ({ shard, to }: Travelling, state: string) =>
  new UserError(
    `${shard} is ${state}, though a restore of it to ${to} was not over: somebody has changed its state. Nothing was done, since what was written there meanwhile would be gone.`,
    `To leave it as it is: ${giveUp(shard)}\nTo take it back all the same: after that, this command again.`,
  )

const otherNow = ({ shard }: Travelling, state: string, noteFile: string) =>
  new UserError(
    `${shard} is ${state}, and its slots are not those it had when the restore began.`,
    `Did a move touch it since (npm run banyan -- moves list)? Then it is well: delete ${noteFile}. If none did, it was taken back to before a move and takes writes for slots that another shard has: make it restoring (PATCH ${shardAt(shard)}), and this command brings it back.`,
  )

async function backToService(connection: ShardOptions['connection'], shard: string, noteFile: NoteFile): Promise<void> {
  await connection.patch(shardAt(shard), { state: 'serving' })
  noteFile.forget()
}
