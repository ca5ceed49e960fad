"""Calls Muster with grpcio in all four kinds of call, and no generated code:
message classes come from the server's reflection.

TRY names what is tried; what came of it is printed."""

import hashlib
import os
import queue
import threading

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

TARGET, NAME = os.environ["TARGET"], os.environ["NAME"]
KEY = (("authorization", "Bearer " + os.environ["KEY"]),)
DEVICES = "muster.registry.v1.DeviceService"
KEYS = "muster.keys.v1.ApiKeyService"
VERIFICATION = "muster.keys.v1.KeyVerificationService"
# So long that only what waits for ever outlasts it.
PATIENCE = 60

channel = grpc.insecure_channel(TARGET)
pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def message(name, **fields):
    """A message of the contract."""
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return made(**fields)


def stub(service, method, through=channel):
    """A method of the contract, of whichever kind it is."""
    found = pool.FindServiceByName(service).FindMethodByName(method)
    kinds = {
        (False, False): through.unary_unary,
        (False, True): through.unary_stream,
        (True, False): through.stream_unary,
        (True, True): through.stream_stream,
    }
    return kinds[found.client_streaming, found.server_streaming](
        f"/{service}/{method}",
        request_serializer=message_factory.GetMessageClass(found.input_type).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
    )


def registry(name, **fields):
    return message("muster.registry.v1." + name, **fields)


def device(display_name=NAME, **fields):
    made = registry("Device", display_name=display_name, **fields)
    return registry("CreateDeviceRequest", device=made)


def refusal(call):
    """The error that a call ends with."""
    try:
        answer = call()
        for _ in answer if hasattr(answer, "__iter__") else ():
            pass
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was not refused")


def unary():
    metadata = KEY + (("x-request-id", NAME),)
    made, call = stub(DEVICES, "CreateDevice").with_call(device(), metadata=metadata)
    print("created", made.display_name)
    print("request", dict(call.initial_metadata())["x-request-id"])
    wanted = registry("ListDevicesRequest", display_name=NAME)
    listed = stub(DEVICES, "ListDevices")(wanted, metadata=KEY)
    print("listed", *(found.display_name for found in listed.devices))
    print("refused", refusal(lambda: stub(DEVICES, "ListDevices")(wanted)).code().name)


def server_streaming():
    watch = stub(VERIFICATION, "WatchRevoked")
    told = watch(message("muster.keys.v1.WatchRevokedRequest"), metadata=KEY, timeout=PATIENCE)
    next(heard for heard in told if heard.synchronised)
    print("synchronised")
    key = message("muster.keys.v1.ApiKey", display_name=NAME)
    request = message("muster.keys.v1.CreateApiKeyRequest", api_key=key)
    made = stub(KEYS, "CreateApiKey")(request, metadata=KEY).api_key
    request = message("muster.keys.v1.RevokeApiKeyRequest", id=made.id)
    stub(KEYS, "RevokeApiKey")(request, metadata=KEY)
    subject = hashlib.sha256(("key:" + made.id).encode()).digest()
    next(one for heard in told for one in heard.revoked if one.subject_sha256 == subject)
    print("told of the revocation")
    told.cancel()
    print("cancelled", refusal(lambda: told).code().name)


def client_streaming():
    made = stub(DEVICES, "CreateDevice")(device(serial_number=NAME), metadata=KEY)
    sighting = lambda **fields: registry("RecordSightingsRequest", **fields)
    seen = iter([sighting(id=made.id), sighting(serial_number=NAME), sighting(external_id="?")])
    answer = stub(DEVICES, "RecordSightings")(seen, metadata=KEY)
    print("known", answer.known_count)
    print("unknown", answer.unknown_count, *answer.unknown_devices)
    wanted = registry("GetDeviceRequest", id=made.id)
    read = stub(DEVICES, "GetDevice")(wanted, metadata=KEY)
    print("seen", read.HasField("last_seen_time"))


def reflect(version, requests, **options):
    return channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(requests, **options)


def bidirectional():
    for version in ("v1", "v1alpha"):
        asked = queue.SimpleQueue()
        answers = reflect(version, iter(asked.get, None), timeout=PATIENCE)
        # Each is asked once the one before was answered.
        asked.put(reflection_pb2.ServerReflectionRequest(list_services="*"))
        listed = [found.name for found in next(answers).list_services_response.service]
        print(version, DEVICES in listed)
        for name in (DEVICES, "google.rpc.BadRequest"):
            asked.put(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
            answer = next(answers)
            print(version, answer.WhichOneof("message_response"))
        asked.put(None)
        print(version, "ended", len(list(answers)))


def endless():
    """Requests that never come, and never end."""
    threading.Event().wait(PATIENCE)
    yield from ()


def deadlines():
    watch = message("muster.keys.v1.WatchRevokedRequest")
    for kind, call in {
        "unary": lambda: stub(DEVICES, "CreateDevice")(device(), metadata=KEY, timeout=0.0001),
        "server": lambda: stub(VERIFICATION, "WatchRevoked")(watch, metadata=KEY, timeout=1),
        "client": lambda: stub(DEVICES, "RecordSightings")(endless(), metadata=KEY, timeout=1),
        "both": lambda: reflect("v1", endless(), timeout=1),
    }.items():
        print(kind, refusal(call).code().name)


def cancellation():
    asked = queue.SimpleQueue()
    call = stub(DEVICES, "RecordSightings").future(iter(asked.get, None), metadata=KEY)
    asked.put(registry("RecordSightingsRequest", external_id=NAME))
    call.cancel()
    print("client", call.cancelled())
    asked.put(None)
    # Of its own: who read the first one may still wait for more.
    asked = queue.SimpleQueue()
    answers = reflect("v1", iter(asked.get, None))
    asked.put(reflection_pb2.ServerReflectionRequest(list_services="*"))
    next(answers)
    answers.cancel()
    print("both", refusal(lambda: answers).code().name)
    asked.put(None)


def errors():
    create = stub(DEVICES, "CreateDevice")
    refused = refusal(lambda: create(device("", code="?"), metadata=KEY))
    print(refused.code().name, refused.details())
    for packed in rpc_status.from_call(refused).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            detail = kind()
            if packed.Unpack(detail) and kind is error_details_pb2.ErrorInfo:
                print("reason", detail.reason, detail.domain)
            for violation in getattr(detail, "field_violations", ()):
                print("field", violation.field)
    # A stream's messages are refused by their index, too.
    wrong = iter([registry("RecordSightingsRequest", external_id="x"), registry("RecordSightingsRequest")])
    refused = refusal(lambda: stub(DEVICES, "RecordSightings")(wrong, metadata=KEY))
    print(refused.code().name)


def compression():
    zipped = grpc.insecure_channel(TARGET, compression=grpc.Compression.Gzip)
    text = "again and again " * 500
    made = stub(DEVICES, "CreateDevice", zipped)(device(description=text), metadata=KEY)
    print("unary", made.description == text)
    seen = (registry("RecordSightingsRequest", id=made.id) for _ in range(100))
    print("stream", stub(DEVICES, "RecordSightings", zipped)(seen, metadata=KEY).known_count)


def large():
    create = stub(DEVICES, "CreateDevice")
    allowed = device(attributes={"text": "x" * 60_000})
    print(len(create(allowed, metadata=KEY).attributes["text"]))
    refused = refusal(lambda: create(device(description="x" * (5 << 20)), metadata=KEY))
    print(refused.code().name)


def keepalive():
    options = [("grpc.keepalive_time_ms", 100), ("grpc.keepalive_permit_without_calls", 1)]
    options.append(("grpc.http2.max_pings_without_data", 0))
    pinging = grpc.insecure_channel(TARGET, options=options)
    watch = message("muster.keys.v1.WatchRevokedRequest")
    told = stub(VERIFICATION, "WatchRevoked", pinging)(watch, metadata=KEY, timeout=PATIENCE)
    print("heard", len([next(told) for _ in range(4)]))
    told.cancel()


def unknown():
    for path in (f"/{DEVICES}/Nothing", "/muster.registry.v2.DeviceService/GetDevice", "/no.Such/Call"):
        for kind, request in ((channel.unary_unary, b""), (channel.stream_stream, iter([b""]))):
            call = kind(path, request_serializer=bytes, response_deserializer=bytes)
            print(refusal(lambda: call(request, metadata=KEY)).code().name)


globals()[os.environ["TRY"]]()
