import type { Location } from '../platform/resources.ts'
import { listShards } from '../shards/requests.ts'
import { connect } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import type { Screen } from '../shell/screen.ts'
import { readConfig } from '../wrangler/config.ts'
import { addressOf, type Deployment } from './deployment.ts'
import { probeCheck } from './probe.ts'
import { resourceSteps } from './resources.ts'
import { smokeCheck, warmCheck } from './site-checks.ts'
import { type Check, runSteps, type Step } from './steps.ts'
import { assetStep, migrationStep, triggerStep, versionStep } from './worker.ts'

/** This token is publicly known, so the Worker refuses it except on localhost. */
const LOCAL_TOKEN = 'banyan-local'

export interface DeployOptions {
  /** The application's address, if it is neither PUBLIC_ORIGIN nor its address on workers.dev. */
  url?: string | undefined
  /** The operators' token: used for requests, and set if none is set. */
  operatorToken?: string | undefined
  isDryRun: boolean
  /** Where to create databases that do not exist yet. */
  location?: Location
  screen: Screen
}

/**
 * Deploys or updates the application. Each step creates what is missing and leaves the rest, so that a run after an
 * interruption resumes. Throws UserError.
 */
export async function deploy(deployment: Deployment, options: DeployOptions): Promise<Output> {
  const { operatorToken, isDryRun, screen, url } = options
  if (operatorToken === LOCAL_TOKEN)
    throw new UserError(
      `The token ${LOCAL_TOKEN} is publicly known, and only for local use.`,
      'Pass another token, or omit --token to have one generated.',
    )
  let address = ''
  const token = () => operatorToken ?? deployment.drawn.read().OPERATOR_TOKEN
  const { shards } = readConfig(deployment.readConfigText())
  const steps: (Step | Check)[] = [
    ...resourceSteps(deployment, options.location),
    migrationStep(deployment),
    assetStep(deployment),
    versionStep(deployment, {
      address: () => address,
      operatorToken,
      mapBindings: () => bindingsOfMap(address, operatorToken),
    }),
    triggerStep(deployment),
    warmCheck(deployment, () => address),
    smokeCheck(() => address, { token, shards: shards.map(({ binding }) => binding) }),
    probeCheck(deployment, () => address, token),
  ]
  address = await addressOf(deployment.platform, readConfig(deployment.readConfigText()), url)
  const outcomes = await runSteps(steps, { isDryRun, screen })
  const changes = outcomes.filter(({ result }) => result === 'done' || result === 'would be done')
  if (isDryRun) return dryRunOutput(address, outcomes, changes.length)
  const drawnToken = deployment.drawn.read().OPERATOR_TOKEN
  const isNewToken = drawnToken !== undefined && drawnToken !== operatorToken
  deployment.drawn.remove()
  return {
    json: { address, steps: outcomes, ...(isNewToken ? { operatorToken: drawnToken } : {}) },
    text: [
      '',
      `${address}${changes.length === 0 ? ' (nothing was changed)' : ''}`,
      ...(isNewToken ? ['', ...tokenAdvice(address, drawnToken)] : []),
    ].join('\n'),
  }
}

async function bindingsOfMap(address: string, token: string | undefined): Promise<string[] | null> {
  if (!token) return null
  const { items } = await listShards(connect({ url: address, token }))
  return items.map(({ binding }) => binding)
}

function dryRunOutput(address: string, outcomes: unknown[], changes: number): Output {
  const what =
    changes === 0
      ? 'A deployment would change nothing'
      : 'Nothing was changed. A deployment would do the steps with a ·'
  return { json: { address, steps: outcomes }, text: `\n${what}. Address: ${address}` }
}

const tokenAdvice = (address: string, token: string): string[] => [
  `The operators’ token: ${token}`,
  'It grants access to the operators’ API, and is shown only once. Keep it where your team keeps its secrets.',
  `  BANYAN_TOKEN=… npm run banyan -- shards list --url ${address}`,
]
