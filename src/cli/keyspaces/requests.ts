import type { KeyspaceList } from '../../console/shapes.ts'
import type { Connection } from '../shell/client.ts'

const KEYSPACES = '/operator/v1/keyspaces'
export const placeAt = (name: string): string => `${KEYSPACES}/${encodeURIComponent(name)}/place`

export const listKeyspaces = (connection: Pick<Connection, 'get'>): Promise<KeyspaceList> => connection.get(KEYSPACES)
