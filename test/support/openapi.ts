/** Checks answers against the OpenAPI document: whether a route documents their status, type and shape. */
import type { Answer } from './http-client.ts'

export type Schema = {
  $ref?: string
  allOf?: Schema[]
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean
  items?: Schema
  maxItems?: number
  minimum?: number
  maximum?: number
  enum?: unknown[]
  format?: string
  [keyword: string]: unknown
}

interface Operation {
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>
  requestBody?: { content: Record<string, { schema: Schema }> }
}

export interface OpenApiDocument {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
}

export interface DocumentedRoute {
  /** For example `POST /api/v1/accounts`, with the path as in the document. */
  name: string
  method: string
  path: string
  successes: number[]
  hasBody: boolean
}

const KNOWN = new Set([
  ...['$ref', 'allOf', 'type', 'properties', 'required', 'additionalProperties', 'items', 'maxItems', 'enum', 'format'],
  ...['minimum', 'maximum'],
  'description', // an annotation, which constrains nothing
])

export const documentedRoutes = (document: OpenApiDocument): DocumentedRoute[] =>
  Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      successes: Object.keys(operation.responses)
        .map(Number)
        .filter((status) => status < 400),
      hasBody: operation.requestBody !== undefined,
    })),
  )

/** The documented route that a request matches, or null. */
export function routeOf(document: OpenApiDocument, method: string, path: string): DocumentedRoute | null {
  const [bare = ''] = path.split('?')
  return (
    documentedRoutes(document).find(
      (route) =>
        route.method === method &&
        new RegExp(`^${route.path.replaceAll(/[.]/g, '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(bare),
    ) ?? null
  )
}

/** The differences between an answer and the document; empty if there are none. */
export function faultsOf(document: OpenApiDocument, route: DocumentedRoute, answer: Answer): string[] {
  const response = document.paths[route.path]![route.method.toLowerCase()]!.responses[answer.status]
  if (!response) return [`${route.name} does not document ${answer.status}: ${answer.text}`]
  const [type] = Object.keys(response.content ?? {})
  if (!type) return answer.text === '' ? [] : [`${route.name} ${answer.status} has a body: ${answer.text}`]
  const sent = answer.headers.get('content-type')
  if (sent !== type) return [`${route.name} ${answer.status} is ${sent}, and documented as ${type}`]
  return shapeFaults(document, response.content![type]!.schema, answer.json(), '')
}

/**
 * The parts of `value` that do not fit the schema. Objects are closed even if JSON Schema would leave them open,
 * because an undocumented field is a leak. Throws for an unknown keyword.
 */
function shapeFaults(document: OpenApiDocument, schema: Schema, value: unknown, at: string): string[] {
  const flat = flatten(document, schema)
  const unknown = Object.keys(flat).filter((keyword) => !KNOWN.has(keyword))
  if (unknown.length > 0)
    throw new Error(`the schema at ${at || '/'} has keywords that are not checked here: ${unknown}`)
  const types = [flat.type ?? []].flat()
  if (!types.includes(typeOf(value)) && !(types.includes('number') && typeOf(value) === 'integer'))
    return [`${at || '/'} is ${typeOf(value)}, but should be ${types.join(' or ')}`]
  if (flat.enum && !flat.enum.includes(value)) return [`${at} is ${JSON.stringify(value)}`]
  if (typeof value === 'number' && (value < (flat.minimum ?? -Infinity) || value > (flat.maximum ?? Infinity)))
    return [`${at} is ${value}, out of its range`]
  if (
    typeof value === 'string' &&
    flat.format === 'date-time' &&
    !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value)
  )
    return [`${at} is not an RFC 3339 time in UTC: ${value}`]
  if (Array.isArray(value)) {
    const tooMany = value.length > (flat.maxItems ?? Number.POSITIVE_INFINITY) ? [`${at} has too many items`] : []
    return [...tooMany, ...value.flatMap((item, index) => shapeFaults(document, flat.items!, item, `${at}/${index}`))]
  }
  if (typeof value === 'object' && value !== null) return objectFaults(document, flat, value, at)
  return []
}

function objectFaults(document: OpenApiDocument, schema: Schema, value: object, at: string): string[] {
  const { properties = {}, required = [] } = schema
  return [
    ...required.filter((name) => !(name in value)).map((name) => `${at}/${name} is missing`),
    ...Object.entries(value).flatMap(([name, part]) =>
      properties[name]
        ? shapeFaults(document, properties[name], part, `${at}/${name}`)
        : [`${at}/${name} is not documented`],
    ),
  ]
}

/** The schema with its reference resolved and its parts (`allOf`) merged. */
function flatten(document: OpenApiDocument, schema: Schema): Schema {
  if (schema.$ref) return flatten(document, document.components.schemas[schema.$ref.split('/').at(-1)!]!)
  if (!schema.allOf) return schema
  const parts = schema.allOf.map((part) => flatten(document, part))
  return {
    type: 'object',
    properties: Object.assign({}, ...parts.map((part) => part.properties ?? {})) as Record<string, Schema>,
    required: parts.flatMap((part) => part.required ?? []),
  }
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (Number.isInteger(value)) return 'integer'
  return typeof value
}

/** The smallest possible value that the schema allows. */
export function sampleOf(document: OpenApiDocument, schema: Schema): unknown {
  const flat = flatten(document, schema)
  if (flat.enum) return flat.enum[0]
  const [type] = [flat.type ?? []].flat()
  if (type === 'object')
    return Object.fromEntries(
      Object.entries(flat.properties ?? {}).map(([name, part]) => [name, sampleOf(document, part)]),
    )
  if (type === 'array') return [sampleOf(document, flat.items!)]
  if (type === 'string') return 'text'
  if (type === 'boolean') return true
  return flat.minimum ?? 0
}
