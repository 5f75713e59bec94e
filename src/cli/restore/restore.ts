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
import { claimDifferences } from './claim-differences.ts'
import {
  claimsFile,
  forgetNote,
  giveUp,
  goOn,
  keepNote,
  type Note,
  type Reconciled,
  readNote,
  standing,
  type Travelling,
} from './note.ts'
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
}

export interface RestoreOptions extends ShardOptions {
  /** RFC 3339. */
  to: string
  /** Milliseconds since 1970. */
  now: number
}

/**
 * Takes one shard back to a moment: out of the map's service, time travel, reconciled, and into service again. What was
 * written there since is gone. Refused, with everything as it was, where its slots weren't the same ones then: it would
 * take writes for slots that another shard has, or lack slots that it got. Throws UserError.
 */
export async function restore(deployment: Deployment, options: RestoreOptions): Promise<Output> {
  const { say } = deployment
  const { connection, shard, noteFile } = options
  const to = readTime(options.to, options.now)
  const found = readNote(noteFile)
  if (found && found.stage !== 'taken-out' && found.to !== to) throw halfDone(found)
  const entry = await findShard(deployment, connection, shard)
  if (found?.stage === 'travelling' && entry.state !== 'restoring') throw servesAlready(found, entry.state)
  const outOfService = async (): Promise<Travelling> =>
    found && found.stage !== 'taken-out'
      ? { ...found, stage: 'travelling' }
      : takeOut(deployment, options, to, { ...entry, isOurs: found !== null })
  return sayingWhereItStands(deployment, noteFile, async () => {
    if (found?.stage === 'reconciled' && entry.state !== 'restoring') {
      forgetNote(noteFile)
      say(`✓ the run before has ended it, and nothing was taken back now: ${shard} has what was written since`)
      return compared(deployment, options, found)
    }
    // One that an older version has reconciled still has the sessions of then.
    const isEnded = found?.stage === 'reconciled' && found.ended !== undefined
    const done = isEnded ? found : await travel(deployment, options, await outOfService())
    await backToService(connection, shard, noteFile)
    return compared(deployment, options, done)
  })
}

/** Gives a restore up: the shard is as it was before, and serves. Throws UserError. */
export async function abandon(deployment: Deployment, options: ShardOptions): Promise<Output> {
  const { connection, shard, noteFile } = options
  const note = readNote(noteFile)
  if (!note)
    throw new UserError(
      `No restore of ${shard} is under way here.`,
      'Its place is kept in .wrangler/deploy on the machine where it was begun: give it up there.',
    )
  const { state } = await findShard(deployment, connection, shard)
  return sayingWhereItStands(deployment, noteFile, async () => {
    if (state !== 'restoring')
      return { json: { shard, state }, text: await leaveAsItIs(deployment, options, note, state) }
    if (note.stage !== 'taken-out') await takeBack(deployment, noteFile, note)
    await backToService(connection, shard, noteFile)
    return { json: { shard, state: 'serving' }, text: `${shard} serves again, as it was before the restore.` }
  })
}

async function sayingWhereItStands(
  deployment: Deployment,
  noteFile: string,
  act: () => Promise<Output>,
): Promise<Output> {
  try {
    return await act()
  } catch (error) {
    const note = readNote(noteFile)
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
  { connection, shard, noteFile }: RestoreOptions,
  to: string,
  { databaseId, state, isOurs }: FoundShard & { isOurs: boolean },
): Promise<Travelling> {
  const { platform } = deployment
  if (state !== 'serving' && !(state === 'restoring' && isOurs)) throw notServing(shard, state)
  await refuseOpenMoves(connection, shard)
  // Read for nothing: where it can't be, that is known before anybody gets a 503.
  await ownershipOf(platform, databaseId)
  const place = { databaseId, shard, to }
  keepNote(noteFile, { ...place, stage: 'taken-out' })
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
  const accounts = await noteBefore(deployment, databaseId, noteFile)
  deployment.say(`✓ noted: ${counted(accounts.count, 'account')}, with the version of each password`)
  const wayBack = await bookmarkAt(platform, databaseId)
  return keepNote(noteFile, { ...place, ...ownership, wayBack, accounts, stage: 'travelling' })
}

/** Repeated, it has the same end: nobody writes meanwhile. */
async function travel(deployment: Deployment, options: ShardOptions, before: Travelling): Promise<Reconciled> {
  const { platform, say } = deployment
  const { connection, shard, noteFile } = options
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
  const ended = await endRevived(deployment, noteFile, before)
  say(`✓ ended: ${endedText(ended, noteFile)}`)
  return keepNote(noteFile, { ...before, stage: 'reconciled', migrated, ended })
}

/** As it was before: from here on nothing of the restore is left but the state. */
async function takeBack({ platform }: Deployment, noteFile: string, note: Travelling | Reconciled): Promise<void> {
  const { shard, databaseId, to, wayBack } = note
  await restoreTo(platform, databaseId, wayBack)
  keepNote(noteFile, { shard, databaseId, to, stage: 'taken-out' })
}

/** Forgets a restore of a shard that isn't out of service any more: what was written there since stays. */
async function leaveAsItIs(
  deployment: Deployment,
  { connection, shard, noteFile }: ShardOptions,
  note: Note,
  state: string,
): Promise<string> {
  const { platform } = deployment
  const ended: string[] = []
  if (note.stage === 'travelling') {
    await refuseOpenMoves(connection, shard)
    if (await differenceFrom(platform, note.databaseId, note)) throw otherNow(note, state, noteFile)
    await reconcile(platform, note.databaseId, note)
    // It may have been taken back already, and then sessions that were ended live again.
    ended.push(endedText(await endRevived(deployment, noteFile, note), noteFile))
  }
  forgetNote(noteFile)
  const what: Record<Note['stage'], string> = {
    'taken-out': 'Nothing in it was taken back.',
    travelling: 'It stays as it is, whether it was taken back already or not.',
    reconciled: `The restore was over: it is as it was at ${note.to}, with what was written since it served again.`,
  }
  const wayBack = note.stage === 'taken-out' ? [] : [wayBackText(note)]
  return [`${shard} is ${state}. ${what[note.stage]}`, ...ended, ...wayBack].join('\n')
}

/** Only looks: it serves already, so a comparison that fails, or is ended, leaves a restore as done as it is. */
async function compared(deployment: Deployment, options: ShardOptions, done: Reconciled): Promise<Output> {
  const { shard, to, wayBack, migrated, databaseId, ended } = done
  const served = `${shard} serves again, as it was at ${to}. What was written there since is gone.`
  deployment.say(
    `✓ ${served}\n${wayBackText(done)}\nComparing its claims and accounts with all shards; Ctrl-C leaves that out.`,
  )
  const comparison = await compareClaims(deployment, options, databaseId).catch((error: unknown) => ({
    json: { lackingAccounts: null, lackingClaims: null },
    text: `Its claims and accounts were not compared: ${messageOf(error)}\nTo compare them: npm run banyan -- restore ${shard} --compare`,
  }))
  const users = ended ? [endedText(ended, options.noteFile)] : []
  const text = [served, ...users, comparison.text, wayBackText(done)].join('\n')
  const json = { shard, to, wayBack, migrated, ...(ended ? endedJson(ended, options.noteFile) : {}) }
  return { json: { ...json, ...comparison.json }, text }
}

/** Lists what doesn't fit in a file, a line each. Throws UserError. */
export async function compare(deployment: Deployment, options: ShardOptions): Promise<Output> {
  const { databaseId } = await findShard(deployment, options.connection, options.shard)
  return compareClaims(deployment, options, databaseId)
}

async function compareClaims(
  deployment: Deployment,
  { connection, shard, noteFile }: ShardOptions,
  restoredId: string,
): Promise<{ json: Lacking; text: string }> {
  const { platform, sleep, say } = deployment
  const databaseIds = readConfig(deployment.readConfigText()).shards.map(({ databaseId }) => databaseId)
  const onShard = (done: number, of: number) => say(`compared with ${done} of ${counted(of, 'shard')}`)
  const file = claimsFile(noteFile)
  replaceFile(file, '', 0o600)
  const { epoch } = await listShards(connection)
  const lacks = { account: 0, claim: 0 }
  for await (const page of claimDifferences({ platform, databaseIds, restoredId, sleep, onShard })) {
    for (const difference of page) lacks[difference.lacks]++
    appendFileSync(file, page.map((difference) => `${JSON.stringify(difference)}\n`).join(''))
  }
  const hasMoved = (await listShards(connection)).epoch !== epoch
  const json = { lackingAccounts: lacks.account, lackingClaims: lacks.claim, file }
  return { json, text: claimsText(shard, json, hasMoved) }
}

const wayBackText = ({ databaseId, wayBack }: Travelling | Reconciled): string =>
  `The way back, while nobody has written: npx wrangler d1 time-travel restore ${databaseId} --bookmark=${wayBack}`

interface Lacking {
  lackingAccounts: number
  lackingClaims: number
  file: string
}

function claimsText(shard: string, { lackingAccounts, lackingClaims, file }: Lacking, hasMoved: boolean): string {
  const isWhole = lackingAccounts + lackingClaims === 0
  const found = [
    `${counted(lackingAccounts, 'claim')} of accounts that are gone: nobody can have those addresses and handles.`,
    `${counted(lackingClaims, 'claim')} that accounts lack: another may take the same address or handle.`,
    `They are listed in ${file}; nothing was done about them.`,
  ]
  const moved = `The map has changed meanwhile, so look again: npm run banyan -- restore ${shard} --compare`
  return [
    ...(isWhole ? ['Every claim has its account, and every account its claims.'] : found),
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

async function backToService(connection: ShardOptions['connection'], shard: string, noteFile: string): Promise<void> {
  await connection.patch(shardAt(shard), { state: 'serving' })
  forgetNote(noteFile)
}
