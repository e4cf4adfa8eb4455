import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Deployment } from 'kubernetes-types/apps/v1.d.ts'
import type { Job } from 'kubernetes-types/batch/v1.d.ts'
import type { LabelSelector } from 'kubernetes-types/meta/v1.d.ts'
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from 'kubernetes-types/networking/v1.d.ts'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'

const root = fileURLToPath(new URL('../../..', import.meta.url))

// biome-ignore lint/suspicious/noExplicitAny: objects of many kinds, whose types checkTypes checks
export type KubernetesObject = any

/** Renders an overlay as `kubectl apply --kustomize` would send it. */
export function render(folder: string): KubernetesObject[] {
  const yaml = execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })
  return parseAllDocuments(yaml).map((document) => document.toJS())
}

/** Where the types of objects are that are not Kubernetes' own. */
const packages: Record<string, string> = {
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
}

/**
 * Checks objects against the types of the Kubernetes API: no field that is unknown, missing or of another type.
 *
 * @returns what is wrong, one line each
 */
export function checkTypes(objects: KubernetesObject[]): string[] {
  const imports = new Set<string>()
  const constants = objects.map((object, index) => {
    // v1, apps/v1 or networking.k8s.io/v1.
    const [version, group = 'core'] = object.apiVersion.split('/').reverse()
    const other = packages[group]
    if (other) {
      const type = `import('${other}/${group}/${version}/${object.kind}').I${object.kind}`
      return `export const object${index}: ${type} = ${JSON.stringify(object)}`
    }
    const module = group.replace(/\..*/, '')
    imports.add(`import type * as ${module}_${version} from 'kubernetes-types/${module}/${version}.d.ts'`)
    return `export const object${index}: ${module}_${version}.${object.kind} = ${JSON.stringify(object)}`
  })
  // Below this package, where the types are found.
  const folder = mkdtempSync(join(root, 'test/dist/kubernetes-'))
  try {
    const file = join(folder, 'objects.ts')
    writeFileSync(file, [...imports, ...constants].join('\n'))
    const program = ts.createProgram([file], {
      module: ts.ModuleKind.NodeNext,
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: [],
      lib: ['lib.es2023.d.ts'],
    })
    return ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A pod, as policies see it. */
export interface Pod {
  name: string
  namespace: string
  labels: Record<string, string>
  /** Where it is no pod: the address of the node itself. */
  address?: string
}

/** The pods that the objects start. */
export function podsOf(objects: KubernetesObject[]): Pod[] {
  return objects
    .filter(({ kind }) => kind === 'Deployment' || kind === 'Job')
    .map(({ metadata, spec }: Deployment & Job) => ({
      name: metadata?.name as string,
      namespace: metadata?.namespace as string,
      labels: spec?.template.metadata?.labels ?? {},
    }))
}

/**
 * Whether a connection is let through: by an egress policy of the client's namespace, and by an ingress policy of
 * the server's, where there are policies for the pod at all. After
 * https://kubernetes.io/docs/concepts/services-networking/network-policies/; ranges of addresses and of ports are not
 * understood and refused.
 */
export function mayReach(objects: KubernetesObject[], from: Pod, to: Pod, port: number, protocol = 'TCP'): boolean {
  const policies: NetworkPolicy[] = objects.filter(({ kind }) => kind === 'NetworkPolicy')
  const hold = (pod: Pod, type: 'Ingress' | 'Egress') =>
    policies.filter(
      ({ metadata, spec }) =>
        metadata?.namespace === pod.namespace &&
        spec?.policyTypes?.includes(type) &&
        selects(spec.podSelector, pod.labels),
    )
  const passes = (
    rules: { ports?: NetworkPolicyPort[] | undefined; peers: NetworkPolicyPeer[] | undefined }[],
    peer: Pod,
    home: string,
  ) =>
    rules.some(
      ({ ports, peers }) =>
        (!ports || ports.some((each) => each.port === port && (each.protocol ?? 'TCP') === protocol)) &&
        (!peers || peers.some((each) => isPeer(each, peer, home))),
    )
  const out = hold(from, 'Egress')
  const into = hold(to, 'Ingress')
  return (
    (out.length === 0 ||
      out.some(({ spec }) =>
        passes(
          (spec?.egress ?? []).map(({ ports, to }) => ({ ports, peers: to })),
          to,
          from.namespace,
        ),
      )) &&
    (into.length === 0 ||
      into.some(({ spec }) =>
        passes(
          (spec?.ingress ?? []).map(({ ports, from }) => ({ ports, peers: from })),
          from,
          to.namespace,
        ),
      ))
  )
}

function isPeer({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, pod: Pod, home: string): boolean {
  if (ipBlock) {
    if (!ipBlock.cidr.endsWith('/32')) throw new Error('ranges of addresses are not understood here')
    return pod.address === ipBlock.cidr.slice(0, -'/32'.length)
  }
  if (pod.address) return false
  const inNamespace = namespaceSelector
    ? selects(namespaceSelector, { 'kubernetes.io/metadata.name': pod.namespace })
    : pod.namespace === home
  return inNamespace && (!podSelector || selects(podSelector, pod.labels))
}

function selects({ matchLabels = {}, matchExpressions }: LabelSelector, labels: Record<string, string>): boolean {
  if (matchExpressions) throw new Error('expressions are not understood here')
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value)
}
