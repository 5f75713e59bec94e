import { present } from '../../core/present.ts'
import type { Platform } from '../platform/api.ts'
import {
  buckets,
  databasesAt,
  type Location,
  makeOne,
  namespaces,
  nowhereInParticular,
  queues,
  type ResourceKind,
} from '../platform/resources.ts'
import { UserError } from '../shell/errors.ts'
import { inParallel } from '../shell/in-parallel.ts'
import { isPlaceholder, readConfig, withDatabaseId, withKvId } from '../wrangler/config.ts'
import type { Deployment } from './deployment.ts'
import type { Step } from './steps.ts'

interface Wanted {
  name: string
  /** The id in the configuration; null if the configuration refers to the resource by its name. */
  configuredId: string | null
  /** Called when the resource exists. */
  onFound(id: string): void
}

/** Creates the resources that wrangler.toml names and the account lacks, and writes their ids into wrangler.toml. */
export function resourceSteps(deployment: Deployment, location: Location = nowhereInParticular): Step[] {
  const { platform } = deployment
  const ids = new Map<string, string>()
  const config = readConfig(deployment.readConfigText())
  const named = (names: string[]) => names.map((name) => ({ name, configuredId: null, onFound: () => {} }))
  return [
    resourceStep('databases', databasesAt(location), platform, () =>
      config.shards.map(({ binding, databaseName, databaseId }) => ({
        name: databaseName,
        configuredId: databaseId,
        onFound(id) {
          ids.set(binding, id)
          deployment.databaseIds.set(binding, id)
        },
      })),
    ),
    resourceStep('KV', namespaces, platform, () =>
      config.kvNamespaces.map(({ binding, id: configuredId }) => ({
        name: `${config.name}-${binding.toLowerCase()}`,
        configuredId,
        onFound: (id) => void ids.set(binding, id),
      })),
    ),
    resourceStep('R2', buckets, platform, () => named(config.buckets)),
    resourceStep('queues', queues, platform, () => named(config.queues)),
    configStep(deployment, ids),
  ]
}

function resourceStep(name: string, kind: ResourceKind, platform: Platform, wanted: () => Wanted[]): Step {
  return {
    name,
    done: 'created',
    async look() {
      const found = await inParallel(wanted(), async (resource) => {
        const id = await findConfigured(kind, platform, resource)
        if (id !== null) resource.onFound(id)
        return { resource, id }
      })
      const missing = found.filter(({ id }) => id === null).map(({ resource }) => resource)
      return {
        lacking: missing.map((resource) => resource.name),
        async carryOut() {
          await inParallel(missing, async (resource) => resource.onFound(await makeOne(kind, platform, resource.name)))
        },
      }
    },
  }
}

/**
 * The id of a configured resource; null if it does not exist yet. Throws UserError if the configuration has another id:
 * the resource belongs to another account or was deleted, and an empty one in its place would hide the mistake.
 */
export async function findConfigured(
  kind: ResourceKind,
  platform: Platform,
  { name, configuredId }: Pick<Wanted, 'name' | 'configuredId'>,
): Promise<string | null> {
  const { called } = kind
  const id = await kind.find(platform, name)
  if (configuredId === null || isPlaceholder(configuredId) || configuredId === id) return id
  const found = id === null ? `this account has no ${called} of that name` : `in this account its id is ${id}`
  throw new UserError(
    `The configuration has the id ${configuredId} for the ${called} ${name}, but ${found}.`,
    'Check CLOUDFLARE_ACCOUNT_ID. To deploy to another account, give it its own configuration with --config FILE.',
  )
}

function configStep(deployment: Deployment, ids: Map<string, string>): Step {
  return {
    name: 'configuration',
    done: 'written',
    async look() {
      const { shards, kvNamespaces } = readConfig(deployment.readConfigText())
      const unwritten = [
        ...shards.map(({ binding, databaseId }) => ({ binding, was: databaseId, write: withDatabaseId })),
        ...kvNamespaces.map(({ binding, id }) => ({ binding, was: id, write: withKvId })),
      ].filter(({ binding, was }) => was !== ids.get(binding))
      return {
        lacking: unwritten.map(({ binding }) => `the id of ${binding}`),
        async carryOut() {
          // Read again, to keep edits made meanwhile.
          let changed = deployment.readConfigText()
          for (const { binding, write } of unwritten)
            changed = write(changed, binding, present(ids.get(binding), `the id of ${binding}`))
          deployment.writeConfigText(changed)
        },
      }
    },
  }
}
