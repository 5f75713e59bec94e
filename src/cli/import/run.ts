import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { counted } from '../shell/table.ts'
import { readCsvOptions } from './csv-form.ts'
import { readEncoding } from './encodings.ts'
import { mappingText, readMapping } from './mapping.ts'
import type { Importer, ImportOutcome, ImportRecord, Remark } from './noun.ts'
import type { ImportOptions } from './options.ts'
import { type Place, PlaceFile } from './place.ts'
import { Progress } from './progress.ts'
import { RefusedFile } from './refused-file.ts'
import { Sender, systemTimer } from './sender.ts'
import { type Checked, type Staged, Staging } from './staging.ts'
import { type Verified, verify } from './verify.ts'

const USERS_A_REQUEST = 200
const REQUESTS_AT_ONCE = 4
const SAMPLE_USERS = 1_000

const start: Omit<Place, 'now' | 'remarked'> = {
  acknowledged: 0,
  imported: 0,
  there: 0,
  refused: 0,
  refusedBytes: 0,
}

/** `banyan import FILE`: reads and checks the whole file, sends it from the last place, and then verifies. */
export async function importFile<R extends ImportRecord, O extends ImportOutcome>(
  importer: Importer<R, O>,
  connect: () => Connection,
  file: string,
  options: ImportOptions,
): Promise<Output> {
  if (!existsSync(file))
    throw new UserError(`There is no file ${file}.`, 'Pass the path of a .sql dump or of a .csv with a header.')
  const how = readVerify(options)
  const source = readSource(importer, file, options)
  const table = options.table ?? 'users'
  const connection = options['dry-run'] ? null : connect()
  const progress = new Progress(process.stderr, systemTimer)
  const reading = { encoding: readEncoding(options.encoding), ...readCsvOptions(options) }
  const staging = new Staging(importer, await importer.loadRules(), table, reading)
  try {
    const fingerprint = await staging.load(file, (fraction) => progress.show(`reading ${file}`, fraction))
    if (staging.form.length > 0) progress.say(`Form of the file: ${staging.form.join(', ')}.`)
    const mapping = readMapping(importer.fields, options.map ?? '', staging.columns())
    progress.say(`Source ${source}: ${mappingText(mapping)}`)
    const identity = {
      fingerprint,
      url: connection?.url ?? '',
      source,
      table,
      mapping: mappingText(mapping),
      reading: JSON.stringify(reading),
    }
    const places = new PlaceFile(file, identity)
    const now = (connection ? places.read().place?.now : null) ?? systemTimer.now()
    staging.stage(mapping, now)
    const refusedFile = new RefusedFile(connection ? file : `${file}.dry-run`, importer.reported)
    const checked = staging.check((row) => refusedFile.found(row))
    if (!connection) {
      refusedFile.open(0)
      refusedFile.removeIfEmpty()
      return dryRun(importer, checked, refusedFile)
    }
    const sender = new Sender(importer, connection, (text) => progress.say(text))
    const place = await sendAll({ importer, staging, checked, now, source, sender, places, refusedFile, progress })
    const verified = await verify({ staging, source, sender, progress, how, sampleUsers: SAMPLE_USERS })
    refusedFile.removeIfEmpty()
    if (isWhole(verified)) places.remove()
    return report(importer, checked, place, verified, refusedFile)
  } finally {
    staging.close()
  }
}

function readVerify({ verify = 'all' }: ImportOptions): 'all' | 'sample' | 'none' {
  if (verify === 'all' || verify === 'sample' || verify === 'none') return verify
  throw new UserError(`--verify is "${verify}".`, 'Pass all, sample or none.')
}

/** The source's name. Default: the file's name. */
function readSource({ source: names }: Pick<Importer, 'source'>, file: string, { source }: ImportOptions): string {
  const unzipped = file.replace(/\.gz$/i, '')
  const name = source ?? path.basename(unzipped, path.extname(unzipped)).toLowerCase()
  if (names.pattern.test(name)) return name
  throw new UserError(
    `"${name}" is not a valid name of a source.`,
    `Pass the name of the application that the users come from with --source: ${names.rule}.`,
  )
}

interface Sending<R extends ImportRecord, O extends ImportOutcome> {
  importer: Importer<R, O>
  staging: Staging<R>
  checked: Checked
  /** The time with which the file was checked. */
  now: number
  source: string
  sender: Sender<R, O>
  places: PlaceFile
  refusedFile: RefusedFile
  progress: Progress
}

/**
 * Sends a few requests at a time, and then stores the place. After a kill, some users are sent twice, which is
 * harmless.
 */
async function sendAll<R extends ImportRecord, O extends ImportOutcome>(sending: Sending<R, O>): Promise<Place> {
  const { staging, checked, source, sender, places, refusedFile, progress } = sending
  const { place, isOther } = startFrom(sending)
  if (isOther)
    progress.say(`${places.file} does not match the file, the options or ${refusedFile.file}. Starting from scratch.`)
  staging.markRefused(refusedFile.open(place.refusedBytes))
  if (place.acknowledged > 0)
    progress.say(`Resuming after ${place.acknowledged.toLocaleString('en')} of ${counted(checked.read, 'user')}.`)
  for (;;) {
    const page = staging.page(place.acknowledged, USERS_A_REQUEST * REQUESTS_AT_ONCE)
    if (page.length === 0) break
    const requests = Array.from({ length: Math.ceil(page.length / USERS_A_REQUEST) }, (_, index) =>
      page.slice(index * USERS_A_REQUEST, (index + 1) * USERS_A_REQUEST),
    )
    const answers = await Promise.all(
      requests.map((request) =>
        sender.importRecords(
          source,
          request.map(({ record }) => record),
        ),
      ),
    )
    count(sending, place, page, answers.flat())
    places.write(place)
    progress.show(
      `importing: ${place.acknowledged.toLocaleString('en')} of ${counted(checked.read, 'user')}`,
      Math.min(0.99, place.acknowledged / checked.read),
    )
  }
  progress.show(`importing: ${counted(checked.read, 'user')}`, 1)
  return place
}

/**
 * Resumes only if the users refused before the place are known, because a verification would report them as missing.
 */
function startFrom<R extends ImportRecord, O extends ImportOutcome>({
  importer,
  places,
  refusedFile,
  now,
}: Sending<R, O>): { place: Place; isOther: boolean } {
  const { place, isOther } = places.read()
  if (place && refusedFile.reaches(place.refusedBytes)) return { place, isOther }
  const remarked = Object.fromEntries(importer.remarks.map(({ name }) => [name, 0]))
  return { place: { ...start, now, remarked }, isOther: isOther || place !== null }
}

function count<R extends ImportRecord, O extends ImportOutcome>(
  { importer, refusedFile, staging }: Sending<R, O>,
  place: Place,
  page: Staged<R>[],
  outcomes: O[],
): void {
  const refused = outcomes.flatMap(({ outcome, code = '', detail = '' }, index) => {
    const record = page[index]?.record
    return outcome === 'refused' && record ? [{ record, code, detail }] : []
  })
  refusedFile.append(
    refused.map(({ record, ...reason }) => ({
      values: importer.reported.map((name) => record[name] ?? ''),
      ...reason,
    })),
  )
  staging.markRefused(refused.map(({ record }) => record.externalId))
  place.acknowledged = page.at(-1)?.n ?? place.acknowledged
  place.imported += outcomes.filter(({ outcome }) => outcome === 'imported').length
  place.there += outcomes.filter(({ outcome }) => outcome === 'there').length
  place.refused += refused.length
  for (const { name, isOfOutcome } of importer.remarks)
    place.remarked[name] = (place.remarked[name] ?? 0) + outcomes.filter(isOfOutcome).length
  place.refusedBytes = refusedFile.bytes
}

const isWhole = ({ missing, differing }: Verified): boolean => missing + differing === 0
const number = (value: number): string => value.toLocaleString('en')

function report<R, O>(
  { remarks, verified: what }: Reporting<R, O>,
  checked: Checked,
  place: Place,
  verified: Verified,
  { file }: RefusedFile,
): Output {
  const { imported, there, remarked } = place
  const refused = checked.refused + place.refused
  const json = { read: checked.read, imported, there, refused, ...remarked, ...verified }
  const lines = [
    `Read ${number(checked.read)}, imported ${number(imported)}, already imported ${number(there)}, refused ${number(refused)}.`,
    ...(refused > 0 ? [`  The refused users and the reasons: ${file}`] : []),
    ...remarkLines(remarks, remarked, ({ texts }) => texts.imported),
    ...verifiedLines(what, verified),
  ]
  return { json, text: lines.join('\n'), isFailure: !isWhole(verified) }
}

interface Reporting<R, O> {
  remarks: readonly Remark<R, O>[]
  verified: string
}

function remarkLines<R, O>(
  remarks: readonly Remark<R, O>[],
  remarked: Record<string, number>,
  textOf: (remark: Remark<R, O>) => (count: string) => string,
): string[] {
  return remarks.flatMap((remark) => {
    const count = remarked[remark.name] ?? 0
    return count > 0 ? [`  ${textOf(remark)(number(count))}`] : []
  })
}

function verifiedLines(what: string, { asked, verified, missing, differing, examples }: Verified): string[] {
  if (asked === 0) return ['  Nothing was verified.']
  const whole = `Verified ${number(verified)} of ${number(asked)}: ${what}.`
  if (missing + differing === 0) return [whole]
  return [
    whole,
    `  ${number(missing)} are missing, and ${number(differing)} differ, perhaps because users have changed their data since. For example:`,
    ...examples.map(({ externalId, differences }) => `    ${externalId}: ${differences.join(', ') || 'missing'}`),
    '  To send all users again, remove the .import-state.json file and run the command again. Existing users stay as they are.',
  ]
}

function dryRun<R, O>({ remarks }: Reporting<R, O>, checked: Checked, { file }: RefusedFile): Output {
  const { read, refused, remarked } = checked
  const json = { read, importable: read - refused, refused, ...remarked }
  const lines = [
    `Read ${number(read)}: ${number(read - refused)} can be imported, ${number(refused)} are refused. Nothing was sent.`,
    ...(refused > 0 ? [`  The refused users and the reasons: ${file}`] : []),
    ...remarkLines(remarks, remarked, ({ texts }) => texts.dryRun),
  ]
  return { json, text: lines.join('\n') }
}
