from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Route(_message.Message):
    __slots__ = ("guid", "host", "path", "internal", "vip")
    GUID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_FIELD_NUMBER: _ClassVar[int]
    VIP_FIELD_NUMBER: _ClassVar[int]
    guid: str
    host: str
    path: str
    internal: bool
    vip: str
    def __init__(self, guid: _Optional[str] = ..., host: _Optional[str] = ..., path: _Optional[str] = ..., internal: _Optional[bool] = ..., vip: _Optional[str] = ...) -> None: ...

class RouteMapping(_message.Message):
    __slots__ = ("capi_process_guid", "route_guid", "route_weight")
    CAPI_PROCESS_GUID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_GUID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    capi_process_guid: str
    route_guid: str
    route_weight: int
    def __init__(self, capi_process_guid: _Optional[str] = ..., route_guid: _Optional[str] = ..., route_weight: _Optional[int] = ...) -> None: ...

class CapiDiegoProcessAssociation(_message.Message):
    __slots__ = ("capi_process_guid", "diego_process_guids")
    CAPI_PROCESS_GUID_FIELD_NUMBER: _ClassVar[int]
    DIEGO_PROCESS_GUIDS_FIELD_NUMBER: _ClassVar[int]
    capi_process_guid: str
    diego_process_guids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, capi_process_guid: _Optional[str] = ..., diego_process_guids: _Optional[_Iterable[str]] = ...) -> None: ...

class DiegoProcessGuids(_message.Message):
    __slots__ = ("diego_process_guids",)
    DIEGO_PROCESS_GUIDS_FIELD_NUMBER: _ClassVar[int]
    diego_process_guids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, diego_process_guids: _Optional[_Iterable[str]] = ...) -> None: ...

class UpsertRouteRequest(_message.Message):
    __slots__ = ("route",)
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    route: Route
    def __init__(self, route: _Optional[_Union[Route, _Mapping]] = ...) -> None: ...

class UpsertRouteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteRouteRequest(_message.Message):
    __slots__ = ("guid",)
    GUID_FIELD_NUMBER: _ClassVar[int]
    guid: str
    def __init__(self, guid: _Optional[str] = ...) -> None: ...

class DeleteRouteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MapRouteRequest(_message.Message):
    __slots__ = ("route_mapping",)
    ROUTE_MAPPING_FIELD_NUMBER: _ClassVar[int]
    route_mapping: RouteMapping
    def __init__(self, route_mapping: _Optional[_Union[RouteMapping, _Mapping]] = ...) -> None: ...

class MapRouteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnmapRouteRequest(_message.Message):
    __slots__ = ("route_mapping",)
    ROUTE_MAPPING_FIELD_NUMBER: _ClassVar[int]
    route_mapping: RouteMapping
    def __init__(self, route_mapping: _Optional[_Union[RouteMapping, _Mapping]] = ...) -> None: ...

class UnmapRouteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpsertCapiDiegoProcessAssociationRequest(_message.Message):
    __slots__ = ("capi_diego_process_association",)
    CAPI_DIEGO_PROCESS_ASSOCIATION_FIELD_NUMBER: _ClassVar[int]
    capi_diego_process_association: CapiDiegoProcessAssociation
    def __init__(self, capi_diego_process_association: _Optional[_Union[CapiDiegoProcessAssociation, _Mapping]] = ...) -> None: ...

class UpsertCapiDiegoProcessAssociationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteCapiDiegoProcessAssociationRequest(_message.Message):
    __slots__ = ("capi_process_guid",)
    CAPI_PROCESS_GUID_FIELD_NUMBER: _ClassVar[int]
    capi_process_guid: str
    def __init__(self, capi_process_guid: _Optional[str] = ...) -> None: ...

class DeleteCapiDiegoProcessAssociationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCfRoutesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCfRoutesResponse(_message.Message):
    __slots__ = ("routes",)
    class RoutesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.ScalarMap[str, str]
    def __init__(self, routes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListCfRouteMappingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCfRouteMappingsResponse(_message.Message):
    __slots__ = ("route_mappings",)
    class RouteMappingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RouteMapping
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RouteMapping, _Mapping]] = ...) -> None: ...
    ROUTE_MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    route_mappings: _containers.MessageMap[str, RouteMapping]
    def __init__(self, route_mappings: _Optional[_Mapping[str, RouteMapping]] = ...) -> None: ...

class ListCapiDiegoProcessAssociationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCapiDiegoProcessAssociationsResponse(_message.Message):
    __slots__ = ("capi_diego_process_associations",)
    class CapiDiegoProcessAssociationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: DiegoProcessGuids
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[DiegoProcessGuids, _Mapping]] = ...) -> None: ...
    CAPI_DIEGO_PROCESS_ASSOCIATIONS_FIELD_NUMBER: _ClassVar[int]
    capi_diego_process_associations: _containers.MessageMap[str, DiegoProcessGuids]
    def __init__(self, capi_diego_process_associations: _Optional[_Mapping[str, DiegoProcessGuids]] = ...) -> None: ...

class BulkSyncRequest(_message.Message):
    __slots__ = ("route_mappings", "routes", "capi_diego_process_associations")
    ROUTE_MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    CAPI_DIEGO_PROCESS_ASSOCIATIONS_FIELD_NUMBER: _ClassVar[int]
    route_mappings: _containers.RepeatedCompositeFieldContainer[RouteMapping]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    capi_diego_process_associations: _containers.RepeatedCompositeFieldContainer[CapiDiegoProcessAssociation]
    def __init__(self, route_mappings: _Optional[_Iterable[_Union[RouteMapping, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., capi_diego_process_associations: _Optional[_Iterable[_Union[CapiDiegoProcessAssociation, _Mapping]]] = ...) -> None: ...

class BulkSyncRequestChunk(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class BulkSyncResponse(_message.Message):
    __slots__ = ("total_bytes_received",)
    TOTAL_BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    total_bytes_received: int
    def __init__(self, total_bytes_received: _Optional[int] = ...) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthResponse(_message.Message):
    __slots__ = ("healthy",)
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    healthy: bool
    def __init__(self, healthy: _Optional[bool] = ...) -> None: ...

class GetVIPByNameRequest(_message.Message):
    __slots__ = ("fqdn",)
    FQDN_FIELD_NUMBER: _ClassVar[int]
    fqdn: str
    def __init__(self, fqdn: _Optional[str] = ...) -> None: ...

class GetVIPByNameResponse(_message.Message):
    __slots__ = ("ip",)
    IP_FIELD_NUMBER: _ClassVar[int]
    ip: str
    def __init__(self, ip: _Optional[str] = ...) -> None: ...
