import type { RegisterRoutes } from '../web/app.ts'
import { backfillRoutes } from './backfill-routes.ts'
import type { OpenOperators, OperatorsOf } from './context.ts'
import { jobLetterRoutes } from './job-letter-routes.ts'
import { jobRoutes } from './job-routes.ts'
import { keyspaceRoutes } from './keyspace-routes.ts'
import { migrationRoutes } from './migrations.ts'
import { moveRoutes } from './move-routes.ts'
import { probeRoutes } from './probe.ts'
import { replicaRoutes } from './replicas.ts'
import { shardRoutes } from './shard-routes.ts'
import { userRoutes } from './user-routes.ts'

/** The operators' API. Each request needs the operators' token. */
export function operatorRoutes(open: OpenOperators): RegisterRoutes {
  const operators: OperatorsOf = (c) => open(c.get('tiers'), c.env)
  return (app) => {
    shardRoutes(app, operators)
    moveRoutes(app, operators)
    keyspaceRoutes(app, operators)
    backfillRoutes(app, operators)
    migrationRoutes(app, operators)
    probeRoutes(app, operators)
    replicaRoutes(app, operators)
    userRoutes(app, operators)
    jobLetterRoutes(app, operators)
    jobRoutes(app, operators)
    app.openAPIRegistry.registerComponent('securitySchemes', 'operator', { type: 'http', scheme: 'bearer' })
  }
}
