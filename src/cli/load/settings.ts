import { addressOf } from '../shell/client.ts'
import { UserError } from '../shell/errors.ts'
import type { OptionDefinitions, OptionValues } from '../shell/options.ts'
import { decimalOf } from '../shell/whole-number.ts'
import { REQUESTS_MAX } from './run.ts'

const SEED_MAX = 2 ** 32 - 1
const DURATION_S_MAX = 86_400

export const loadOptions = {
  rate: {
    value: 'N',
    help: 'requests a second, begun at their times whether others are answered or not (default: 50)',
  },
  duration: { value: 'SECONDS', help: 'for how long (default: 30)' },
  'until-stopped': { help: 'until Ctrl-C instead' },
  users: { value: 'N', help: 'who read and write (default: 20)' },
  reads: { value: 'SHARE', help: 'the share of requests that read (default: 0.9)' },
  seed: { value: 'N', help: 'draws the same requests again' },
} as const satisfies OptionDefinitions

type LoadOptions = OptionValues<typeof loadOptions> & { url?: string | undefined }

/** The options as numbers. Throws UserError where one is out of bounds. */
export function readSettings(options: LoadOptions) {
  const isEndless = options['until-stopped'] === true
  if (isEndless && options.duration !== undefined)
    throw new UserError('--until-stopped and --duration exclude each other.', 'Leave one of them out.')
  const rate = numberOf('rate', options.rate ?? '50', { least: 0.1, most: 2_000 })
  const seconds = numberOf('duration', options.duration ?? '30', { least: 1, most: DURATION_S_MAX })
  if (!isEndless && rate * seconds > REQUESTS_MAX)
    throw new UserError(
      `--rate ${rate} for --duration ${seconds} is more than ${REQUESTS_MAX.toLocaleString('en')} requests.`,
      'Take a lower rate, or a shorter time.',
    )
  return {
    url: addressOf(options),
    rate,
    ...(isEndless ? {} : { durationMs: seconds * 1_000 }),
    users: numberOf('users', options.users ?? '20', { least: 1, most: 1_000, isWhole: true }),
    reads: numberOf('reads', options.reads ?? '0.9', { least: 0, most: 1 }),
    seed: numberOf('seed', options.seed ?? String(drawnSeed()), { least: 0, most: SEED_MAX, isWhole: true }),
  }
}

function numberOf(name: string, text: string, bounds: { least: number; most: number; isWhole?: boolean }): number {
  const number = decimalOf(text)
  const { least, most, isWhole } = bounds
  if (number !== null && number >= least && number <= most && (!isWhole || Number.isInteger(number))) return number
  const range = `from ${least.toLocaleString('en')} to ${most.toLocaleString('en')}`
  throw new UserError(`--${name} is "${text}".`, `It takes a ${isWhole ? 'whole ' : ''}number ${range}.`)
}

function drawnSeed(): number {
  const [seed = 0] = crypto.getRandomValues(new Uint32Array(1))
  return seed
}
