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
    help: 'requests to start per second, even if earlier ones are unanswered (default: 50)',
  },
  duration: { value: 'SECONDS', help: 'length of the load in seconds (default: 30)' },
  'until-stopped': { help: 'send requests until Ctrl-C, instead of --duration' },
  users: { value: 'N', help: 'number of users who read and write (default: 20)' },
  reads: { value: 'SHARE', help: 'share of requests that read, from 0 to 1 (default: 0.9)' },
  seed: { value: 'N', help: 'seed of a previous run, to draw the same requests again (default: random)' },
} as const satisfies OptionDefinitions

type LoadOptions = OptionValues<typeof loadOptions> & { url?: string | undefined }

/** The options as numbers. Throws UserError if one is out of bounds. */
export function readSettings(options: LoadOptions) {
  const isEndless = options['until-stopped'] === true
  if (isEndless && options.duration !== undefined)
    throw new UserError('--until-stopped and --duration cannot be combined.', 'Remove one of them.')
  const rate = numberOf('rate', options.rate ?? '50', { least: 0.1, most: 2_000 })
  const seconds = numberOf('duration', options.duration ?? '30', { least: 1, most: DURATION_S_MAX })
  if (!isEndless && rate * seconds > REQUESTS_MAX)
    throw new UserError(
      `--rate ${rate} for --duration ${seconds} exceeds the limit of ${REQUESTS_MAX.toLocaleString('en')} requests.`,
      'Pass a lower --rate or a shorter --duration.',
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
  throw new UserError(`--${name} is "${text}".`, `Pass a ${isWhole ? 'whole ' : ''}number ${range}.`)
}

function drawnSeed(): number {
  const [seed = 0] = crypto.getRandomValues(new Uint32Array(1))
  return seed
}
