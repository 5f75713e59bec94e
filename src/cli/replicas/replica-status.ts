import type { ReplicasPage } from '../../console/shapes.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { type DatabaseState, databaseState } from '../platform/replication.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { inParallel } from '../shell/in-parallel.ts'
import { pagesOf } from '../shell/pages.ts'
import { counted, table } from '../shell/table.ts'
import { chosenDatabases, patiently } from './databases.ts'

type Members = ReplicasPage['items'][number]['members']

/** The application's answer, or why there is none. */
type Application = Omit<ReplicasPage, 'next'> | { reason: string }

interface ReplicaState extends DatabaseState {
  binding: string
  database: string
  /** The members that answered reads of the application; null if it was not asked or does not bind the shard. */
  members: Members | null
  /** Why the database did not answer, or null. */
  error: string | null
}

interface StatusOptions {
  only: string | undefined
  /** Opens the application. Throws UserError. */
  connect(): Promise<Pick<Connection, 'get'>>
}

/** Compares the platform's setting of each database with the application's setting and with who answers its reads. */
export async function replicaStatus(deployment: Deployment, { only, connect }: StatusOptions): Promise<Output> {
  const databases = await chosenDatabases(deployment, only)
  const application = await askApplication(connect)
  const items = await inParallel(databases, async ({ binding, database, id }): Promise<ReplicaState> => {
    const state = await patiently(deployment, () => databaseState(deployment.platform, id))
    const answered = 'items' in application ? application.items.find((item) => item.binding === binding) : undefined
    return { binding, database, ...state, members: answered?.members ?? null, error: answered?.error ?? null }
  })
  const replicas = 'replicas' in application ? application.replicas : null
  const head = ['shard', 'replication', 'primary', 'jurisdiction', 'answered by']
  const rows = items.map(({ binding, mode, region, jurisdiction, members }) => [
    binding,
    mode,
    region ?? 'unknown',
    jurisdiction ?? '–',
    members === null || members.length === 0 ? '–' : members.map(memberText).join(', '),
  ])
  return {
    json: { replicas, agrees: replicas === null ? null : disagreement(items, replicas) === null, items },
    text: `${table(head, rows, head.length)}\n\n${verdict(items, application).join('\n')}`,
  }
}

async function askApplication(connect: StatusOptions['connect']): Promise<Application> {
  try {
    const connection = await connect()
    const found: Omit<ReplicasPage, 'next'> = { replicas: 'off', waited: 0, fellBack: 0, items: [] }
    const ask = (after: string | null) =>
      connection.get<ReplicasPage>(`/operator/v1/replicas${after === null ? '' : `?after=${after}`}`)
    for await (const page of pagesOf(ask)) {
      const { replicas, waited, fellBack } = page
      Object.assign(found, { replicas, waited, fellBack })
      found.items.push(...page.items)
    }
    return found
  } catch (error) {
    if (error instanceof UserError) return { reason: `${error.message} ${error.fix}` }
    throw error
  }
}

const memberText = ({ region, isPrimary, reads }: Members[number]): string =>
  `${isPrimary ? 'primary' : 'replica'}${region === null ? '' : ` ${region}`} × ${reads}`

const names = (items: ReplicaState[]): string => items.map(({ binding }) => binding).join(', ')

/** The contradiction between the databases and the application, with its fix; null if there is none. */
function disagreement(items: ReplicaState[], replicas: 'on' | 'off'): string | null {
  const [enabled, disabled] = [items.filter(({ mode }) => mode === 'auto'), items.filter(({ mode }) => mode !== 'auto')]
  if (replicas === 'off' && enabled.length > 0)
    return `The application runs with REPLICAS=off, so it never reads from the replicas of ${names(enabled)}. They cost nothing, but have no benefit. Set REPLICAS to on and deploy, or: npm run banyan -- replicas disable --remote`
  if (replicas === 'on' && disabled.length > 0)
    return `The application runs with REPLICAS=on, but these databases have no replicas: ${names(disabled)}. Their reads take longer, without a benefit. To enable the replicas: npm run banyan -- replicas enable --remote. Otherwise set REPLICAS to off and deploy.`
  return null
}

function verdict(items: ReplicaState[], application: Application): string[] {
  const silent = items.filter(({ error }) => error !== null)
  const failures = silent.map(({ binding, error }) => `${binding} did not answer all reads: ${error}`)
  if ('reason' in application)
    return [`The application did not report which members answer its reads: ${application.reason}`, ...failures]
  const { replicas, waited, fellBack } = application
  const contradiction = disagreement(items, replicas)
  if (contradiction !== null) return [contradiction, ...failures]
  if (replicas === 'off') return ['The application runs with REPLICAS=off. All reads go to the primaries.', ...failures]
  const members = items.flatMap((item) => item.members ?? [])
  const reads = (some: Members) => some.reduce((sum, member) => sum + member.reads, 0)
  const [byReplicas, all] = [reads(members.filter(({ isPrimary }) => !isPrimary)), reads(members)]
  const summary = `The application runs with REPLICAS=on. Replicas answered ${byReplicas} of ${counted(all, 'read')}. Before that, in the same isolate, ${counted(waited, 'read')} waited for a replica, and ${fellBack} went to the primary instead.`
  if (byReplicas > 0 || all === 0) return [summary, ...failures]
  return [
    summary,
    'The platform chooses the nearest member, which can be the primary. If the result is the same from places far from the primaries, the replicas do not exist yet or are not used.',
    ...failures,
  ]
}
