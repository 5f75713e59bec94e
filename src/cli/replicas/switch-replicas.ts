import { eachAtMost } from '../../core/bounded.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { databaseState, type ReplicationMode, setReplication } from '../platform/replication.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { AT_ONCE_MAX } from '../shell/in-parallel.ts'
import { counted } from '../shell/table.ts'
import { readConfig } from '../wrangler/config.ts'
import { chosenDatabases, patiently, type ShardDatabase } from './databases.ts'

interface SwitchResult extends ShardDatabase {
  result: 'switched' | 'unchanged' | 'failed' | 'not started'
  error?: string
}

const participles: Record<ReplicationMode, string> = { auto: 'enabled', disabled: 'disabled' }

/**
 * Switches the replication of the chosen databases, a few at a time. It looks at each first, so a second run changes
 * nothing. After a failure it starts no more, and reports each database.
 */
export async function switchReplicas(
  deployment: Deployment,
  { mode, only }: { mode: ReplicationMode; only: string | undefined },
): Promise<Output> {
  const databases = await chosenDatabases(deployment, only)
  const results = new Map<string, SwitchResult>()
  let hasFailed = false
  await eachAtMost(AT_ONCE_MAX, databases, async (database) => {
    if (hasFailed) return
    try {
      const result = await patiently(deployment, () => switchOne(deployment, database, mode))
      results.set(database.binding, { ...database, result })
      deployment.say(`${database.binding}  ${result === 'switched' ? '' : 'already '}${participles[mode]}`)
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      hasFailed = true
      results.set(database.binding, { ...database, result: 'failed', error: `${error.message} ${error.fix}` })
      deployment.say(`${database.binding}  failed`)
    }
  })
  const items = databases.map((one) => results.get(one.binding) ?? ({ ...one, result: 'not started' } as const))
  const { replicas } = readConfig(deployment.readConfigText())
  return { json: { mode, items }, text: textOf(items, mode, replicas), ...(hasFailed ? { isFailure: true } : {}) }
}

/** Throws UserError, also if the API reports another mode afterwards. */
async function switchOne({ platform }: Deployment, { database, id }: ShardDatabase, mode: ReplicationMode) {
  if ((await databaseState(platform, id)).mode === mode) return 'unchanged'
  const { mode: reported } = await setReplication(platform, id, mode)
  if (reported === mode) return 'switched'
  throw new UserError(
    `The API accepted read_replication.mode = ${mode} for ${database}, but reports ${reported}.`,
    'Look at the settings of the database in Cloudflare’s dashboard.',
  )
}

function textOf(items: SwitchResult[], mode: ReplicationMode, isOn: boolean): string {
  const having = (result: SwitchResult['result']) => items.filter((item) => item.result === result)
  const [switched, unchanged, failed] = [having('switched'), having('unchanged'), having('failed')]
  if (failed.length > 0)
    return [
      ...failed.map(({ binding, database, error }) => `${binding} (${database}) failed: ${error}`),
      `${counted(switched.length, 'database')} ${participles[mode]}, ${unchanged.length} already ${participles[mode]}, ${having('not started').length} not started.`,
      'Fix the cause, and run the command again to resume. It skips the databases that are done.',
    ].join('\n')
  const already =
    unchanged.length === 0 ? '' : ` ${counted(unchanged.length, 'database')} already ${participles[mode]}.`
  return [
    `Replicas ${participles[mode]} for ${counted(switched.length, 'database')}.${already}`,
    ...nextSteps(mode, isOn),
  ].join('\n')
}

const CHECK = 'Then check: npm run banyan -- replicas status --remote'

function nextSteps(mode: ReplicationMode, isOn: boolean): string[] {
  if (mode === 'auto')
    return isOn
      ? ['The configuration already sets REPLICAS to on. Deploy it if you have not: npm run deploy', CHECK]
      : [
          'The application does not read from them yet. Set REPLICAS = "on" under [vars] in the configuration, and deploy: npm run deploy',
          CHECK,
        ]
  return [
    ...(isOn
      ? [
          'The configuration still sets REPLICAS to on, so reads take longer, without a benefit. Set it to off, and deploy: npm run deploy',
        ]
      : []),
    'Cloudflare needs up to 24 hours to delete the replicas. Until then, some may still answer.',
  ]
}
