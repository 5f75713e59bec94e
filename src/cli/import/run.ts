import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Connection } from '../client.ts'
import type { Output } from '../command.ts'
import { UserError } from '../errors.ts'
import type { OptionValues } from '../options.ts'
import { counted } from '../table.ts'
import { readCsvOptions } from './csv-form.ts'
import { readEncoding } from './encodings.ts'
import { mappingText, readMapping } from './mapping.ts'
import { type Place, PlaceFile } from './place.ts'
import { Progress } from './progress.ts'
import { RefusedFile } from './refused-file.ts'
import { type ImportOutcome, Sender, systemTimer } from './sender.ts'
import { type Checked, type Staged, Staging } from './staging.ts'
import { type Verified, verify } from './verify.ts'

const USERS_A_REQUEST = 200
const REQUESTS_AT_ONCE = 4
const SAMPLE_USERS = 1_000
const SOURCE = /^[a-z0-9][a-z0-9._-]{0,63}$/

const start: Omit<Place, 'now'> = {
  acknowledged: 0,
  imported: 0,
  there: 0,
  refused: 0,
  withoutPassword: 0,
  refusedBytes: 0,
}

/** `banyan import FILE`: reads and checks the whole file, then sends it from where it had come to, then verifies. */
export async function importFile(connect: () => Connection, [file]: string[], options: OptionValues): Promise<Output> {
  if (!existsSync(file!)) throw new UserError(`There is no file ${file}.`, 'Name a .sql dump or a .csv with a header.')
  const how = readVerify(options)
  const source = readSource(file!, options)
  const table = options.table ?? 'users'
  const connection = options['dry-run'] ? null : connect()
  const progress = new Progress(process.stderr, systemTimer)
  const reading = { encoding: readEncoding(options.encoding), ...readCsvOptions(options) }
  const staging = new Staging(table, reading)
  try {
    const fingerprint = await staging.load(file!, (fraction) => progress.show(`reading ${file}`, fraction))
    if (staging.form.length > 0) progress.say(`The file: ${staging.form.join(', ')}.`)
    const mapping = readMapping(options.map ?? '', staging.columns())
    progress.say(`Source ${source}: ${mappingText(mapping)}`)
    const identity = {
      fingerprint,
      url: connection?.url ?? '',
      source,
      table,
      mapping: mappingText(mapping),
      reading: JSON.stringify(reading),
    }
    const places = new PlaceFile(file!, identity)
    const now = (connection ? places.read().place?.now : null) ?? systemTimer.now()
    staging.stage(mapping, now)
    const refusedFile = new RefusedFile(connection ? file! : `${file}.dry-run`)
    const checked = staging.check((row) => refusedFile.found(row))
    if (!connection) {
      refusedFile.open(0)
      refusedFile.removeIfEmpty()
      return dryRun(checked, refusedFile)
    }
    const sender = new Sender(connection, (text) => progress.say(text))
    const place = await sendAll({ staging, checked, now, source, sender, places, refusedFile, progress })
    const verified = await verify({ staging, source, sender, progress, how, sampleUsers: SAMPLE_USERS })
    refusedFile.removeIfEmpty()
    if (isWhole(verified)) places.remove()
    return report(checked, place, verified, refusedFile)
  } finally {
    staging.close()
  }
}

function readVerify({ verify = 'all' }: OptionValues): 'all' | 'sample' | 'none' {
  if (verify === 'all' || verify === 'sample' || verify === 'none') return verify
  throw new UserError(`--verify is "${verify}".`, 'It may be all, sample or none.')
}

/** The file's name, if it isn't given. */
function readSource(file: string, { source }: OptionValues): string {
  const unzipped = file.replace(/\.gz$/i, '')
  const name = source ?? path.basename(unzipped, path.extname(unzipped)).toLowerCase()
  if (SOURCE.test(name)) return name
  throw new UserError(
    `"${name}" can't name a source.`,
    'Name where the users come from with --source: 1 to 64 of a–z, 0–9, ".", "_" and "-".',
  )
}

interface Sending {
  staging: Staging
  checked: Checked
  /** By which it was checked. */
  now: number
  source: string
  sender: Sender
  places: PlaceFile
  refusedFile: RefusedFile
  progress: Progress
}

/** Some requests at once, and then the place is kept: what a kill cuts off is sent again, and is there already. */
async function sendAll({
  staging,
  checked,
  now,
  source,
  sender,
  places,
  refusedFile,
  progress,
}: Sending): Promise<Place> {
  const { place, isOther } = startFrom(places, refusedFile, now)
  if (isOther) progress.say(`${places.file} doesn’t fit the file, the options, or ${refusedFile.file}: beginning anew.`)
  staging.markRefused(refusedFile.open(place.refusedBytes))
  if (place.acknowledged > 0)
    progress.say(`Going on after ${place.acknowledged.toLocaleString('en')} of ${counted(checked.read, 'user')}.`)
  for (;;) {
    const page = staging.page(place.acknowledged, USERS_A_REQUEST * REQUESTS_AT_ONCE)
    if (page.length === 0) break
    const requests = Array.from({ length: Math.ceil(page.length / USERS_A_REQUEST) }, (_, index) =>
      page.slice(index * USERS_A_REQUEST, (index + 1) * USERS_A_REQUEST),
    )
    const answers = await Promise.all(
      requests.map((request) =>
        sender.importUsers(
          source,
          request.map(({ record }) => record),
        ),
      ),
    )
    count(place, page, answers.flat(), refusedFile, staging)
    places.write(place)
    progress.show(
      `importing: ${place.acknowledged.toLocaleString('en')} of ${counted(checked.read, 'user')}`,
      Math.min(0.99, place.acknowledged / checked.read),
    )
  }
  progress.show(`importing: ${counted(checked.read, 'user')}`, 1)
  return place
}

/** Who was refused before the place must be known, too: else they would be missed at the end. */
function startFrom(places: PlaceFile, refusedFile: RefusedFile, now: number): { place: Place; isOther: boolean } {
  const { place, isOther } = places.read()
  if (!place) return { place: { ...start, now }, isOther }
  return refusedFile.reaches(place.refusedBytes) ? { place, isOther } : { place: { ...start, now }, isOther: true }
}

function count(
  place: Place,
  page: Staged[],
  outcomes: ImportOutcome[],
  refusedFile: RefusedFile,
  staging: Staging,
): void {
  const refused = page.flatMap(({ record }, index) => {
    const { outcome, code = '', detail = '' } = outcomes[index]!
    return outcome === 'refused' ? [{ ...record, code, detail }] : []
  })
  refusedFile.append(refused)
  staging.markRefused(refused.map(({ externalId }) => externalId))
  place.acknowledged = page.at(-1)!.n
  place.imported += outcomes.filter(({ outcome }) => outcome === 'imported').length
  place.there += outcomes.filter(({ outcome }) => outcome === 'there').length
  place.refused += refused.length
  place.withoutPassword += outcomes.filter(({ outcome, hasPassword }) => outcome !== 'refused' && !hasPassword).length
  place.refusedBytes = refusedFile.bytes
}

const isWhole = ({ missing, differing }: Verified): boolean => missing + differing === 0
const number = (value: number): string => value.toLocaleString('en')

function report(checked: Checked, place: Place, verified: Verified, { file }: RefusedFile): Output {
  const { imported, there, withoutPassword } = place
  const refused = checked.refused + place.refused
  const json = { read: checked.read, imported, there, refused, withoutPassword, ...verified }
  const lines = [
    `Read ${number(checked.read)}, imported ${number(imported)}, already there ${number(there)}, refused ${number(refused)}.`,
    ...(refused > 0 ? [`  Who was refused, and why: ${file}`] : []),
    ...(withoutPassword > 0
      ? [`  ${number(withoutPassword)} without a password that can be checked here: they set a new one by mail.`]
      : []),
    ...verifiedLines(verified),
  ]
  return { json, text: lines.join('\n'), isFailure: !isWhole(verified) }
}

function verifiedLines({ asked, verified, missing, differing, examples }: Verified): string[] {
  if (asked === 0) return ['  Nothing was verified.']
  const whole = `Verified ${number(verified)} of ${number(asked)}: each field, and the claims on e-mail address, handle and external id.`
  if (missing + differing === 0) return [whole]
  return [
    whole,
    `  ${number(missing)} are missing, ${number(differing)} differ; people may have changed what is theirs since. For example:`,
    ...examples.map(({ externalId, differences }) => `    ${externalId}: ${differences.join(', ') || 'missing'}`),
    '  To send all again, which changes nothing of what is there: remove the .import-state.json file and run it again.',
  ]
}

function dryRun(checked: Checked, { file }: RefusedFile): Output {
  const { read, refused, withoutPassword } = checked
  const json = { read, importable: read - refused, refused, withoutPassword }
  const lines = [
    `Read ${number(read)}: ${number(read - refused)} can be imported, ${number(refused)} are refused. Nothing was sent.`,
    ...(refused > 0 ? [`  Who is refused, and why: ${file}`] : []),
    ...(withoutPassword > 0 ? [`  ${number(withoutPassword)} would have no password that can be checked here.`] : []),
  ]
  return { json, text: lines.join('\n') }
}
